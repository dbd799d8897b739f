// Numbers and strings as Python writes them.

/** A float as repr() writes it: 1.0, 0.5, 1e-07, 1e+16, inf, nan. */
export function pythonFloat(value) {
  if (typeof value !== "number") return pythonRepr(value);
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (Object.is(value, -0)) return "-0.0";
  const size = Math.abs(value);
  // Python and JavaScript write the same digits, but change to the form with an exponent at other sizes.
  if (size >= 1e16 || (size < 1e-4 && size > 0)) return twoDigitExponent(value.toExponential());
  return Number.isInteger(value) ? `${value}.0` : `${value}`;
}

/** A value as repr() writes it. A number without a fraction is an int. */
export function pythonRepr(value) {
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "number") return Number.isSafeInteger(value) ? `${value}` : pythonFloat(value);
  const text = String(value);
  return text.includes("'") && !text.includes('"') ? pythonString(text) : `'${escaped(text).replaceAll("'", "\\'")}'`;
}

/** A string literal between double quotes. Characters that cannot be seen are escaped. */
export function pythonString(text) {
  return `"${escaped(text).replaceAll('"', '\\"')}"`;
}

/** A number as Python's format "g" writes it, with the given number of significant digits: 0.5, 1, 1e-05. */
export function general(value, digits = 6) {
  if (value === 0) return Object.is(value, -0) ? "-0" : "0";
  const [mantissa, exponent] = rounded(value, digits).split("e");
  const power = Number(exponent);
  const trimmed = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  if (power < -4 || power >= digits) return twoDigitExponent(`${trimmed(mantissa)}e${exponent}`);
  return trimmed(Number(`${mantissa}e${exponent}`).toFixed(digits - 1 - power));
}

/** value.toExponential(digits - 1), but an exact half is rounded to the even digit, as in Python. */
function rounded(value, digits) {
  const exact = value.toExponential(100);
  const half = new RegExp(`^(-?\\d\\.?\\d{${digits - 1}})50*e(.*)$`).exec(exact);
  if (half !== null && Number(half[1].at(-1)) % 2 === 0) return `${half[1]}e${half[2]}`;
  return value.toExponential(digits - 1);
}

function twoDigitExponent(text) {
  return text.replace(/e([+-])(\d)$/, "e$10$2");
}

function escaped(text) {
  const names = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" };
  // \p{C}: control characters, marks that change the direction of text, and single surrogates, which stand for bytes
  // that are not UTF-8. \p{Z}: spaces and line separators.
  return text.replace(/[\\\p{C}\p{Z}]/gu, (character) => {
    if (character === " ") return character;
    const code = character.codePointAt(0).toString(16);
    const short = code.length <= 2 ? `\\x${code.padStart(2, "0")}` : `\\u${code.padStart(4, "0")}`;
    return names[character] ?? (code.length > 4 ? `\\U${code.padStart(8, "0")}` : short);
  });
}
