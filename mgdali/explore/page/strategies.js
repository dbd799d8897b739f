// The strategies that the page offers: their parameters, their form in the page's address and their lines of Python.
//
// A strategy object has the parameters of all strategies, so that a change of the strategy keeps the others' values:
//   {strategy: "motion", numFrames: 8, mu: 0.5, even: 0, inverse: "step", level: "image", stride: 4,
//    pastEnd: "repeat_last", seed: null}

import { pythonFloat, pythonRepr, pythonString } from "./python.js";
import { INVERSES, PAST_ENDS } from "./sampling.js";

export const LEVELS = ["image", "feature"];

/**
 * Parameters by name in a strategy object. `query` is the name in addresses, which is also that in Python except where
 * `python` names another. `least` and `most` are bounds of what the page and its server accept.
 */
export const PARAMETERS = {
  numFrames: { query: "num_frames", kind: "integer", least: 1, most: 512 },
  mu: { query: "mu", kind: "number", least: 0, most: Infinity },
  even: { query: "even", kind: "number", least: 0, most: 1 },
  inverse: { query: "inverse", kind: "choice", choices: INVERSES },
  level: { query: "level", python: "motion", kind: "choice", choices: LEVELS },
  stride: { query: "stride", kind: "integer", least: 1, most: Number.MAX_SAFE_INTEGER },
  pastEnd: { query: "past_end", kind: "choice", choices: PAST_ENDS },
  seed: { query: "seed", kind: "integer", least: 0, most: Number.MAX_SAFE_INTEGER, optional: true },
};

const DEFAULTS = {
  numFrames: 8,
  mu: 0.5,
  even: 0,
  inverse: "step",
  level: "image",
  stride: 4,
  pastEnd: "repeat_last",
  seed: null,
};

/**
 * The strategies: `id` in addresses, `label` for the user, `python` the class, `parameters` the parameters that
 * change its picks (in the order in which they are shown), `defaults` the values of all parameters, as in the class.
 */
export const STRATEGIES = [
  describe("motion", "Motion-guided", "MotionGuided", ["numFrames", "mu", "even", "inverse", "level", "seed"]),
  describe("top", "Top motion", "TopMotion", ["numFrames", "level"]),
  describe("segment", "Segments", "Segment", ["numFrames", "seed"]),
  describe("stride", "Fixed stride", "Stride", ["numFrames", "stride", "pastEnd", "seed"]),
  describe("run", "Run around motion", "MotionClip", [
    "numFrames",
    "stride",
    "mu",
    "even",
    "level",
    "pastEnd",
    "seed",
  ], { stride: 8 }),
];

function describe(id, label, python, parameters, own = {}) {
  return Object.freeze({
    id,
    label,
    python,
    parameters: Object.freeze(parameters),
    defaults: Object.freeze({ strategy: id, ...DEFAULTS, ...own }),
  });
}

/** The entry of STRATEGIES with this id. Throws a RangeError if there is no such strategy. */
export function strategyOf(id) {
  const found = STRATEGIES.find((each) => each.id === id);
  if (found === undefined) {
    const known = STRATEGIES.map((each) => pythonRepr(each.id)).join(", ");
    throw new RangeError(`strategy must be one of (${known}), got ${pythonRepr(id)}`);
  }
  return found;
}

/** Return a strategy object with the given values, and the strategy's defaults for the others. Checks it. */
export function makeStrategy(id, values = {}) {
  return check({ ...strategyOf(id).defaults, ...values });
}

/** Return the strategy object if all of its parameters are valid; otherwise throw a RangeError that names one. */
export function check(strategy) {
  for (const name of strategyOf(strategy.strategy).parameters) {
    const problem = problemOf(name, strategy[name]);
    if (problem !== null) throw new RangeError(problem);
  }
  return strategy;
}

/** Say what is wrong with a parameter's value; null if it is valid. */
export function problemOf(name, value) {
  const parameter = PARAMETERS[name];
  const { query, kind, least, most, optional = false } = parameter;
  if (optional && value === null) return null;
  if (kind === "choice") {
    if (parameter.choices.includes(value)) return null;
    return `${query} must be one of (${parameter.choices.map(pythonRepr).join(", ")}), got ${pythonRepr(value)}`;
  }
  const valid = kind === "integer" ? Number.isSafeInteger(value) : Number.isFinite(value);
  if (valid && value >= least && value <= most) return null;
  const whole = kind === "integer" ? "an integer" : most === Infinity ? "a finite number" : "a number";
  const open = most === Infinity || most === Number.MAX_SAFE_INTEGER;
  const shown = kind === "integer" ? pythonRepr(value) : pythonFloat(value);
  return `${query} must be ${whole} ${open ? `>= ${least}` : `in [${least}, ${most}]`}, got ${shown}`;
}

/** Return the parameters that change the strategy's picks, for the page's address and for the server. */
export function toQuery(strategy) {
  const query = new URLSearchParams({ strategy: strategy.strategy });
  for (const name of strategyOf(strategy.strategy).parameters) {
    if (strategy[name] !== null) query.set(PARAMETERS[name].query, strategy[name]);
  }
  return query;
}

/**
 * Return the checked strategy object of an address, a URLSearchParams.
 *
 * Parameters that are missing or empty have the strategy's defaults. Throws a RangeError if one is not valid.
 */
export function fromQuery(query) {
  const { id, parameters } = strategyOf(query.get("strategy") || "motion");
  const values = {};
  for (const name of parameters) {
    const text = query.get(PARAMETERS[name].query);
    if (text) values[name] = PARAMETERS[name].kind === "choice" ? text : numberOf(text);
  }
  return makeStrategy(id, values);
}

/** Return the number that a text in decimal form describes, otherwise the text. */
function numberOf(text) {
  return /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text) ? Number(text) : text;
}

/**
 * Return the lines of Python that give the strategy's picks of a video.
 *
 * Arguments with the default value are left out, except the number of frames, which a reader changes first.
 *
 * @param video As the server's `api/videos/{id}` returns it: `path`, `start` and `end` are used.
 * @param strategy A strategy object.
 * @param picks The picks, indices in the file, which are written as a comment; null for no comment.
 */
export function pythonLines(video, strategy, picks = null) {
  check(strategy);
  const { python, parameters, defaults } = strategyOf(strategy.strategy);
  const named = parameters.filter((name) => name !== "numFrames" && name !== "seed" && strategy[name] !== defaults[name]);
  const sampler = [`${strategy.numFrames}`, ...named.map((name) => argument(name, strategy[name]))];
  const call = [pythonString(video.path), `sampler=${python}(${sampler.join(", ")})`];
  if (video.start) call.push(`start=${pythonRepr(video.start)}`);
  if (video.end !== null && video.end !== undefined) call.push(`end=${pythonRepr(video.end)}`);
  if (parameters.includes("seed") && strategy.seed !== null) call.push(`seed=${strategy.seed}`);
  const comment = picks === null ? "" : `  # [${Array.from(picks).join(", ")}]`;
  return [
    `from mgdali import ${python}, pick_frames`,
    "",
    `clip = pick_frames(${call.join(", ")})`,
    `print(clip.indices.tolist())${comment}`,
  ].join("\n");
}

function argument(name, value) {
  const { kind, query, python = query } = PARAMETERS[name];
  if (kind === "choice") return `${python}=${pythonString(value)}`;
  return `${python}=${pythonRepr(value)}`;
}
