// What is drawn of one video's picks: the function `explain` of mgdali/one_video/explanation.py.

import { general } from "./python.js";
import { anyOf, motionWeights, nearestShares, picksByWeights, sampleSegment, samplerPick, shares } from "./sampling.js";

const NAMES = {
  motion: ["Motion-guided: one frame from each equal part of the motion", "motion-guided picks"],
  segment: ["Segments: one frame from each equal part of the time", "segment picks"],
  top: ["Top motion: the frames of largest motion", "top-motion picks"],
  run: ["Frames picked by MotionClip", "picks"],
};

/**
 * Pick frames of a video by a strategy, and describe how they were picked.
 *
 * @param strategy A strategy object, see strategies.js.
 * @param video As the server's `api/videos/{id}` returns it: `name`, `motion`, `seconds` and `first_frame` are used. It is
 *   faster if `motion` is a Float64Array.
 * @param offsets [N] in [0, 1), from the server for a seed; null for those of testing, 0.5.
 * @param compare Whether to compare the picks with evenly spread ones.
 * @returns The attributes of the Python class `Explanation`, with the same names. Values per frame, [T], are typed arrays
 *   or those of `video`; values per pick, [N], are arrays. `plain` turns it into what JSON can store.
 * @throws RangeError With the text of the Python function if a value is out of range.
 */
export function explain(strategy, video, offsets = null, { compare = true } = {}) {
  const motion = video.motion instanceof Float64Array ? video.motion : Float64Array.from(video.motion);
  const { numFrames, mu, even, inverse } = strategy;
  const { first_frame } = video;
  const total = motion.length;
  const inFile = (picks) => Array.from(picks, (pick) => first_frame + pick);
  // The weights are needed for the picks and for the curve.
  const weights = strategy.strategy === "motion" ? motionWeights(motion, mu, even) : null;
  const picks =
    weights === null
      ? samplerPick(strategy, motion, total, offsets)
      : picksByWeights(weights, numFrames, { offsets: offsets ?? 0.5, inverse });
  const [name, label] = namesOf(strategy);
  const rows = [{ kind: "picked", name, label, frames: inFile(picks), with_images: true }];
  if (compare && strategy.strategy !== "segment") {
    rows.push({
      kind: "even",
      name: "Evenly spread: one frame from each equal part of the time",
      label: "evenly spread picks",
      frames: inFile(sampleSegment(total, numFrames)),
      with_images: false,
    });
  }
  return {
    title: titleOf(video, total, numFrames),
    first_frame,
    total,
    motion,
    running_sum: weights === null ? null : runningSum(strategy, { motion, weights, picks, offsets, first_frame }),
    rows,
    seconds: video.seconds,
  };
}

/** An explanation with arrays instead of typed arrays: the same as `Explanation.as_dict()`. */
export function plain(value) {
  if (ArrayBuffer.isView(value) || Array.isArray(value)) return Array.from(value, plain);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, plain(part)]));
}

function titleOf(video, total, numFrames) {
  const first = video.first_frame;
  const frames = total === 1 ? "1 frame" : `${total} frames`;
  const part = first ? ` (${first} to ${first + total - 1})` : "";
  return `${video.name}: ${numFrames} of ${frames}${part}`;
}

function runningSum(strategy, { motion, weights, picks, offsets, first_frame }) {
  const { numFrames, inverse } = strategy;
  const y = inverse === "nearest" ? nearestShares(weights) : shares(weights);
  const middles = Array.from(picks, (_, i) => (i + 0.5) / numFrames);
  const levels = offsets === null ? middles : middles.map((_, i) => (i + offsets[i]) / numFrames);
  const x = new Int32Array(y.length);
  for (let k = 0; k < x.length; k++) x[k] = first_frame + k;
  return {
    title: sumTitle(strategy, {
      still: !anyOf(motion),
      centred: levels.every((level, i) => Math.abs(level - middles[i]) <= 1e-9),
    }),
    inverse,
    x,
    y,
    levels,
    picks: Array.from(picks, (pick) => first_frame + pick),
    meets: inverse === "step" ? levels : Array.from(picks, (pick) => y[pick]),
  };
}

function sumTitle({ mu, even, inverse }, { still, centred }) {
  const place = centred ? "its middle" : "a point of it";
  const rule = inverse === "step" ? `at which ${place} is passed` : `nearest to ${place}`;
  const spread = even ? ` with ${general(even, 3)} of it spread evenly` : "";
  const summed = still ? "equal weights (nothing moves)" : `$S^{${general(mu)}}$${spread}`;
  return `Running sum of ${summed}: each part of the sum picks the frame ${rule}`;
}

function namesOf({ strategy, stride }) {
  if (strategy === "stride") return [`Fixed stride: frames at a distance of ${stride}`, "fixed-stride picks"];
  return NAMES[strategy];
}
