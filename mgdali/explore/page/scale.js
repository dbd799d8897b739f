/** Scales of the charts: round tick values, short numbers, and curves with no more points than pixels. */

/**
 * Return round values from `low` to `high`, at most about `count` of them.
 * @param {boolean} integer Whether only whole numbers are wanted.
 * @returns {number[]}
 */
export function roundTicks(low, high, count, integer = false) {
  if (!(high > low)) return [low];
  const rough = (high - low) / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  let step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * (1 - 1e-9));
  if (integer) step = Math.max(Math.round(step), 1);
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k += 1) ticks.push(k * step);
  return ticks;
}

/** Return a number with at most three digits and a unit prefix: 1234567 becomes "1.23M". */
export function short(number) {
  const prefixes = ["", "k", "M", "G", "T"];
  let value = number;
  let place = 0;
  while (Math.abs(value) >= 999.5 && place < prefixes.length - 1) {
    value /= 1000;
    place += 1;
  }
  return Number(value.toPrecision(3)) + prefixes[place];
}

/** Return a whole number with commas between thousands. */
export const whole = (number) => Math.round(number).toLocaleString("en-US");

/** Return a time in seconds with two decimals, in minutes too if it is long. */
export function time(seconds) {
  if (seconds < 60) return `${seconds.toFixed(2)} s`;
  const minutes = Math.floor(seconds / 60);
  return `${minutes} min ${(seconds - 60 * minutes).toFixed(1)} s`;
}

/** Return a tick of the axis of times, without more decimals than it needs. */
export const tickTime = (seconds) => `${Number(seconds.toPrecision(10))} s`;

/**
 * The horizontal scale of one video: each frame is one step, half a frame to both sides of its index.
 * @param {{first_frame: number, total: number}} video
 * @param {number} left Where the first step begins, in pixels.
 * @param {number} width Width of all steps in pixels.
 */
export function frameScale({ first_frame: first, total }, left, width) {
  return {
    left,
    width,
    right: left + width,
    at: (frame) => left + ((frame - first + 0.5) / total) * width,
    edge: (place) => left + (place / total) * width,
    frameAt: (x) => first + Math.min(Math.max(Math.floor(((x - left) / width) * total), 0), total - 1),
    perPixel: total / width,
  };
}

/**
 * Return the smallest and largest of the values in each column of pixels.
 * @param {ArrayLike<number>} values At least as many as columns.
 * @param {number} columns
 * @returns {{low: Float64Array, high: Float64Array}}
 */
export function extremes(values, columns) {
  const low = new Float64Array(columns);
  const high = new Float64Array(columns);
  for (let column = 0; column < columns; column += 1) {
    const start = Math.floor((column * values.length) / columns);
    const end = Math.max(Math.floor(((column + 1) * values.length) / columns), start + 1);
    let least = values[start];
    let most = values[start];
    for (let t = start + 1; t < end; t += 1) {
      if (values[t] < least) least = values[t];
      if (values[t] > most) most = values[t];
    }
    low[column] = least;
    high[column] = most;
  }
  return { low, high };
}

/** Return the place at which a rising list of numbers reaches `value`, by linear interpolation. */
export function placeOf(rising, value) {
  let low = 0;
  let high = rising.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (rising[middle] <= value) low = middle;
    else high = middle;
  }
  const step = rising[high] - rising[low];
  return step > 0 ? low + (high - low) * Math.min(Math.max((value - rising[low]) / step, 0), 1) : low;
}
