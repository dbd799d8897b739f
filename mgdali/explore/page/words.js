/** Strategies in words: their settings in one line, and the labels and hints of the controls. */

import { strategyOf } from "./strategies.js";

/** Names and hints of the parameters for the controls. */
export const WORDS = {
  numFrames: { label: "Frames N", hint: "Number of frames to pick" },
  mu: { label: "mu", hint: "Exponent of motion: 0 spreads the picks evenly, 1 follows the motion as it is" },
  even: { label: "even", hint: "Share of the sum that is spread evenly over time" },
  inverse: { label: "Inverse", hint: "How a level of the running sum picks a frame" },
  level: { label: "Motion", hint: "How motion is measured: differences of brightness, or of image features" },
  stride: { label: "Stride", hint: "Distance between two picks, in frames" },
  pastEnd: { label: "Past the end", hint: "What replaces frames past the end of a short video" },
  seed: { label: "Offsets", hint: "Place of each pick in its part: its middle as in testing, or random as in training" },
};

/** Names of the values of parameters that are chosen from a list. */
export const VALUES = {
  step: "step",
  nearest: "nearest (released code)",
  image: "image level",
  feature: "feature level",
  repeat_last: "repeat the last frame",
  loop: "play it again",
};

const SHORT = {
  numFrames: (value) => `N ${value}`,
  mu: (value) => `mu ${value}`,
  even: (value) => (value > 0 ? `even ${value}` : null),
  inverse: (value) => (value === "step" ? null : "nearest"),
  level: (value) => (value === "image" ? null : "feature level"),
  stride: (value) => `stride ${value}`,
  pastEnd: (value) => (value === "loop" ? "loop" : null),
  seed: (value) => (value === null ? null : `draw ${value}`),
};

/** Return the settings of a strategy in one line; those with the usual value are left out. */
export function settings(strategy) {
  const { parameters } = strategyOf(strategy.strategy);
  return parameters.map((name) => SHORT[name](strategy[name])).filter(Boolean).join(" · ");
}
