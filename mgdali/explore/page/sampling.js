// Rules that pick frames: the functions of mgdali/sampling.py, with the same float64 operations in the same order.
//
// The only operation that can round differently is x ** mu: browsers and NumPy may differ in its last bit, unless mu is
// 0, 0.5, 1 or 2. A pick can then differ only where a level and a cumulative value are equal up to rounding.
//
// Errors are RangeErrors with the texts of the Python functions.

import { pythonFloat, pythonRepr } from "./python.js";

export const INVERSES = ["step", "nearest"];
export const PAST_ENDS = ["repeat_last", "loop"];

/** Weight of each frame, w = S ** mu, a share `even` of it spread evenly over time. Float64Array [T]. */
export function motionWeights(motion, mu = 0.5, even = 0) {
  const values = checkMotion(motion);
  checkMu(mu);
  checkEven(even);
  const weights = powers(values, mu);
  // x ** mu rises with x, so the largest value tells whether any overflows.
  if (!Number.isFinite(largest(weights))) {
    throw new RangeError(
      `motion ** ${pythonFloat(mu)} overflows float64: the largest motion is ${pythonFloat(largest(values))}; ` +
        "scale it down",
    );
  }
  if (!anyOf(weights)) return weights.fill(1);
  if (even === 0) return weights;
  let total = 0;
  for (const weight of weights) total += weight;
  const scale = (weights.length / total) * (1 - even);
  if (!Number.isFinite(total)) {
    throw new RangeError("the sum of motion ** mu overflows float64: scale motion down");
  }
  if (!Number.isFinite(scale)) {
    throw new RangeError(
      `the sum of motion ** mu is too small for float64, ${pythonFloat(total)}: scale motion up`,
    );
  }
  for (let t = 0; t < weights.length; t++) weights[t] = weights[t] * scale + even;
  return weights;
}

/** Frames at even steps of cumulative motion (Eq. 4 to 6). Int32Array [N], sorted. `offsets`: a number or [N]. */
export function sampleMotionGuided(
  motion,
  numFrames,
  { mu = 0.5, even = 0, offsets = 0.5, inverse = "step" } = {},
) {
  checkInverse(inverse);
  return picksByWeights(motionWeights(motion, mu, even), numFrames, { offsets, inverse });
}

/** The picks of sampleMotionGuided for weights that motionWeights has returned. Int32Array [N], sorted. */
export function picksByWeights(weights, numFrames, { offsets = 0.5, inverse = "step" } = {}) {
  const places = checkPicks(numFrames, offsets);
  const steps = places.map((place, i) => i + place);
  const cumulative = cumulativeSum(weights);
  const total = cumulative[cumulative.length - 1];
  const levels = steps.map((step) => (step * total) / numFrames);
  if (!(Number.isFinite(total) && Number.isFinite(levels[numFrames - 1]))) {
    throw new RangeError(`${numFrames} times the sum of motion ** mu overflows float64: scale motion down`);
  }
  if (inverse === "nearest") return inverseNearest(weights, steps.map((step) => step / numFrames));
  // With an offset just below 1, rounding can make the level equal to the whole sum, which no frame exceeds.
  const last = firstIndex(cumulative.length, (t) => cumulative[t] >= total);
  const pick = (level) => Math.min(firstIndex(cumulative.length, (t) => cumulative[t] > level), last);
  return Int32Array.from(levels, pick);
}

/** One frame from each of N equal parts of the video. Int32Array [N]. */
export function sampleSegment(total, numFrames, { offsets = 0.5 } = {}) {
  checkCount("total", total);
  const places = checkPicks(numFrames, offsets);
  return Int32Array.from(places, (place, i) =>
    Math.min(Math.floor(((i + place) * total) / numFrames), total - 1),
  );
}

/** Every `stride`-th frame, beginning with `start`. Int32Array [N]. */
export function sampleStride(total, numFrames, stride, { start, pastEnd = "repeat_last" }) {
  checkPastEnd(pastEnd);
  checkCount("total", total);
  checkCount("num_frames", numFrames);
  checkCount("stride", stride);
  if (!(Number.isInteger(start) && start >= 0 && start < total)) {
    throw new RangeError(`the integer start must be in [0, ${total}), got ${pythonRepr(start)}`);
  }
  // A smaller step with the same result, because products of a long one are not exact in float64.
  const loop = pastEnd === "loop";
  const step = loop ? stride % total : Math.min(stride, total);
  return Int32Array.from({ length: numFrames }, (_, i) =>
    loop ? (start + step * i) % total : Math.min(start + step * i, total - 1),
  );
}

/** Every `stride`-th frame of a run whose middle is picked by motion. Int32Array [N]. */
export function sampleMotionClip(
  motion,
  numFrames,
  stride,
  { mu = 0.5, even = 0, offset = 0.5, pastEnd = "repeat_last" } = {},
) {
  checkCount("num_frames", numFrames);
  checkCount("stride", stride);
  const [middle] = sampleMotionGuided(motion, 1, { mu, even, offsets: offset });
  const total = motion.length;
  const span = (numFrames - 1) * stride + 1;
  const start = Math.min(Math.max(middle - Math.floor(span / 2), 0), Math.max(total - span, 0));
  return sampleStride(total, numFrames, stride, { start, pastEnd });
}

/** The N frames of largest S, in temporal order; of equal values the earlier frame. Int32Array [N]. */
export function sampleTopMotion(motion, numFrames) {
  const values = checkMotion(motion);
  checkCount("num_frames", numFrames);
  if (values.length < numFrames) return sampleSegment(values.length, numFrames);
  // Frames above the N-th largest value are picked; of those equal to it, the first ones until there are N.
  const least = Float64Array.from(values).sort()[values.length - numFrames];
  let above = 0;
  for (const value of values) if (value > least) above++;
  let equal = numFrames - above;
  const picks = new Int32Array(numFrames);
  let count = 0;
  for (let t = 0; count < numFrames; t++) {
    if (values[t] > least || (values[t] === least && equal-- > 0)) picks[count++] = t;
  }
  return picks;
}

/**
 * Picks of a strategy object, as its Python class picks them: Int32Array [N], in [0, T).
 *
 * @param strategy As described in strategies.js.
 * @param motion S of the video, [T].
 * @param total Number of frames, T.
 * @param offsets [N] in [0, 1); null for the offsets of testing, 0.5.
 */
export function samplerPick(strategy, motion, total, offsets = null) {
  const { numFrames, mu, even, inverse, stride, pastEnd } = strategy;
  const places = offsets ?? 0.5;
  const first = offsets === null ? 0.5 : offsets[0];
  switch (strategy.strategy) {
    case "motion":
      return sampleMotionGuided(motion, numFrames, { mu, even, offsets: places, inverse });
    case "top":
      return sampleTopMotion(motion, numFrames);
    case "segment":
      return sampleSegment(total, numFrames, { offsets: places });
    case "stride":
      return sampleStride(total, numFrames, stride, { start: strideStart(strategy, total, first), pastEnd });
    case "run":
      return sampleMotionClip(motion, numFrames, stride, { mu, even, offset: first, pastEnd });
  }
  throw new RangeError(`strategy must be motion, top, segment, stride or run, got ${pythonRepr(strategy.strategy)}`);
}

function strideStart({ numFrames, stride }, total, offset) {
  const span = (numFrames - 1) * stride + 1;
  const starts = Math.max(total - span, 0) + 1;
  return Math.min(Math.floor(offset * starts), starts - 1);
}

/** Sums of the first 1, 2, ... T values, added one after the other as by np.cumsum. Float64Array [T]. */
export function cumulativeSum(values) {
  const sums = new Float64Array(values.length);
  let sum = 0;
  for (let t = 0; t < values.length; t++) {
    sum += values[t];
    sums[t] = sum;
  }
  return sums;
}

/**
 * Sum of all values in the order of np.sum: in blocks of at most 128, each with eight partial sums.
 *
 * The last bits of "nearest" and of the curve that is shown depend on this order.
 */
export function pairwiseSum(values, first = 0, count = values.length) {
  if (count > 128) {
    const half = Math.floor(count / 2);
    const left = half - (half % 8);
    return pairwiseSum(values, first, left) + pairwiseSum(values, first + left, count - left);
  }
  const end = first + count;
  let at = first;
  let sum = 0;
  if (count >= 8) {
    const part = values.slice(first, first + 8);
    for (at += 8; at + 8 <= end; at += 8) for (let k = 0; k < 8; k++) part[k] += values[at + k];
    sum = part[0] + part[1] + (part[2] + part[3]) + (part[4] + part[5] + (part[6] + part[7]));
  }
  for (; at < end; at++) sum += values[at];
  return sum;
}

/**
 * Cumulative shares of the differences from which "nearest" picks, Float64Array [max(T - 1, 1)].
 *
 * The shares are divided first and then summed up, as in the authors' released code: ties depend on this order.
 */
export function nearestShares(weights) {
  let differences = weights.subarray(1);
  if (!anyOf(differences)) differences = new Float64Array(Math.max(differences.length, 1)).fill(1);
  return shares(differences);
}

/** Cumulative shares of weights, Float64Array [T]. */
export function shares(weights) {
  const total = pairwiseSum(weights);
  const parts = new Float64Array(weights.length);
  for (let t = 0; t < parts.length; t++) parts[t] = weights[t] / total;
  return cumulativeSum(parts);
}

function inverseNearest(weights, levels) {
  const cumulative = nearestShares(weights);
  return Int32Array.from(levels, (level) => {
    // The shares do not fall, so the distance falls up to the level and rises after it. Searching takes log T steps.
    const after = firstIndex(cumulative.length, (t) => cumulative[t] >= level);
    if (after === 0) return 0;
    const before = level - cumulative[after - 1];
    if (after < cumulative.length && cumulative[after] - level < before) return after;
    // np.argmin returns the first of the frames with the same distance.
    return firstIndex(after, (t) => level - cumulative[t] <= before);
  });
}

/** The first index in [0, count) for which `condition` holds, where it holds for all later ones; otherwise `count`. */
function firstIndex(count, condition) {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (condition(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

function powers(values, mu) {
  // NumPy computes these exponents exactly, and so do browsers with these operations.
  if (mu === 1) return values.slice();
  const results = new Float64Array(values.length);
  if (mu === 0) return results.fill(1);
  if (mu === 0.5) for (let t = 0; t < results.length; t++) results[t] = Math.sqrt(values[t]);
  else if (mu === 2) for (let t = 0; t < results.length; t++) results[t] = values[t] * values[t];
  else for (let t = 0; t < results.length; t++) results[t] = values[t] ** mu;
  return results;
}

/** Whether any value is not 0. */
export function anyOf(values) {
  for (const value of values) if (value !== 0) return true;
  return false;
}

function largest(values) {
  let most = 0;
  for (const value of values) if (value > most) most = value;
  return most;
}

function checkMotion(motion) {
  const values = motion instanceof Float64Array ? motion : Float64Array.from(motion);
  if (values.length === 0) throw new RangeError("motion must have shape [T] with T >= 1, got shape [0]");
  for (let t = 0; t < values.length; t++) {
    if (!(values[t] >= 0 && values[t] < Infinity)) {
      throw new RangeError(`motion must be finite and >= 0, got motion[${t}] = ${pythonFloat(values[t])}`);
    }
  }
  return values;
}

/** Throw a RangeError unless `value` is an integer >= 1. `name` is that of the Python argument. */
export function checkCount(name, value) {
  if (!(Number.isSafeInteger(value) && value >= 1)) {
    throw new RangeError(`${name} must be an integer >= 1, got ${pythonRepr(value)}`);
  }
}

export function checkMu(mu) {
  if (!(Number.isFinite(mu) && mu >= 0)) {
    throw new RangeError(`mu must be a finite number >= 0, got ${pythonFloat(mu)}`);
  }
}

export function checkEven(even) {
  if (!(Number.isFinite(even) && even >= 0 && even <= 1)) {
    throw new RangeError(`even must be a number in [0, 1], got ${pythonFloat(even)}`);
  }
}

export function checkInverse(inverse) {
  if (!INVERSES.includes(inverse)) {
    throw new RangeError(`inverse must be one of ('step', 'nearest'), got ${pythonRepr(inverse)}`);
  }
}

export function checkPastEnd(pastEnd) {
  if (!PAST_ENDS.includes(pastEnd)) {
    throw new RangeError(`past_end must be one of ('repeat_last', 'loop'), got ${pythonRepr(pastEnd)}`);
  }
}

function checkPicks(numFrames, offsets) {
  checkCount("num_frames", numFrames);
  const single = typeof offsets === "number";
  if (!single && offsets.length !== numFrames) {
    throw new RangeError(
      `offsets must be one number or have shape [${numFrames}], got shape [${offsets.length}]`,
    );
  }
  const places = single ? new Float64Array(numFrames).fill(offsets) : Float64Array.from(offsets);
  if (!places.every((place) => place >= 0 && place < 1)) {
    const given = single ? pythonFloat(offsets) : `[${Array.from(offsets, pythonFloat).join(", ")}]`;
    throw new RangeError(`offsets must be in [0, 1), got ${given}`);
  }
  return places;
}
