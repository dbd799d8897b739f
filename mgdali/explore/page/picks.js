/**
 * The picks of one video by several strategies: computed at once by the page, and compared with mgdali's own.
 */

import * as api from "./api.js";
import { explain } from "./explain.js";
import { strategyOf, toQuery } from "./strategies.js";

const CHECK_DELAY = 350;
const MOST_CHECKED = 200;

export const EQUAL = { kind: "equal", text: "equal to mgdali.sampling" };
export const REPLACED = { kind: "replaced", text: "picks of mgdali.sampling: two values tie" };

export class Picks {
  #computed = new Map();
  #checked = new Map();
  #waiting = new Map();
  #timer = 0;
  #controller = new AbortController();

  /**
   * @param {() => void} arrived Is called when offsets or a comparison have arrived.
   * @param {(error: Error) => void} failed Is called if the server does not answer.
   */
  constructor(arrived, failed) {
    this.arrived = arrived;
    this.failed = failed;
  }

  /**
   * Return how a strategy picks frames of a video: `{explanation, sign, problem}`.
   * @param {object} video Its motion at the strategy's level.
   */
  of(letter, video, strategy) {
    const before = this.#computed.get(letter);
    if (before?.video !== video || before.strategy !== strategy || before.late) {
      this.#computed.set(letter, this.#compute(video, strategy, before));
    }
    const known = this.#computed.get(letter);
    if (known.problem || known.late) return known;
    const key = keyOf(video, strategy);
    const checked = this.#checked.get(key);
    if (checked === undefined) this.#check(key, video, strategy);
    else if (checked.explanation && !known.sign) {
      const equal = sameFrames(checked.explanation, known.explanation);
      known.sign = equal ? EQUAL : REPLACED;
      if (!equal) known.explanation = checked.explanation;
    }
    return known;
  }

  /** Forget rows other than these. */
  keep(letters) {
    for (const letter of this.#computed.keys()) if (!letters.includes(letter)) this.#computed.delete(letter);
  }

  /** Stop comparing. */
  close() {
    clearTimeout(this.#timer);
    this.#controller.abort();
  }

  #compute(video, strategy, before) {
    const random = strategy.seed !== null && strategyOf(strategy.strategy).parameters.includes("seed");
    const offsets = random ? api.knownOffsets(strategy.numFrames, strategy.seed) : null;
    if (offsets === undefined) {
      api.offsets(strategy.numFrames, strategy.seed).then(this.arrived, this.failed);
      // Until they arrive, the row shows its former picks.
      const explanation = before?.video === video ? before.explanation : null;
      return { video, strategy, explanation, late: true };
    }
    try {
      return { video, strategy, explanation: explain(strategy, video, offsets, { compare: false }) };
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return { video, strategy, explanation: null, problem: error.message };
    }
  }

  #check(key, video, strategy) {
    if (this.#waiting.has(key)) return;
    this.#waiting.set(key, { id: video.id, strategy });
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(), CHECK_DELAY);
  }

  async #ask() {
    const current = new Set([...this.#computed.values()].map(({ video, strategy }) => keyOf(video, strategy)));
    const waiting = [...this.#waiting].filter(([key]) => current.has(key));
    this.#waiting.clear();
    for (const [key, { id, strategy }] of waiting) {
      // Marked before it is asked, so that a failure is not repeated without end.
      this.#checked.set(key, {});
      try {
        const answer = await api.explanation(id, toQuery(strategy), this.#controller.signal);
        if (answer.rows) this.#checked.set(key, { explanation: answer });
      } catch (error) {
        if (error.name === "AbortError") return;
        if (error instanceof api.Unreachable) this.#checked.delete(key);
        this.failed(error);
      }
    }
    for (const key of this.#checked.keys()) {
      if (this.#checked.size <= MOST_CHECKED) break;
      this.#checked.delete(key);
    }
    this.arrived();
  }
}

function keyOf(video, strategy) {
  return `${video.id} ${toQuery(strategy)}`;
}

function sameFrames(one, other) {
  const [a, b] = [one.rows[0].frames, other.rows[0].frames];
  return a.length === b.length && a.every((frame, k) => frame === b[k]);
}
