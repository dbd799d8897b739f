/** Titles that contain a formula in TeX notation between dollar signs, such as `$S^{0.5}$`. */

import { element } from "./dom.js";

/**
 * Split a title into pieces of text: `{text}`, and for a formula `{base, exponent}`.
 * @param {string} title
 */
export function pieces(title) {
  return title.split("$").map((text, place) => {
    const power = place % 2 === 1 ? /^(\w+)\^\{(.*)\}$/.exec(text) : null;
    return power ? { base: power[1], exponent: power[2] } : { text };
  });
}

/** Write a title into an element, with its formulas in italics and raised exponents. */
export function writeTitle(node, title) {
  if (node.dataset.title === title) return;
  node.dataset.title = title;
  node.replaceChildren(
    ...pieces(title).flatMap(({ text, base, exponent }) =>
      base ? [element("i", { text: base }), element("sup", { text: exponent })] : [text],
    ),
  );
}
