/** One video: its title, its curves and its rows of picks; or why it cannot be shown. */

import * as api from "./api.js";
import { Curves } from "./curves.js";
import { element, setText, splitName } from "./dom.js";
import { Picks } from "./picks.js";
import { time, whole } from "./scale.js";
import { strategyOf } from "./strategies.js";
import { Strip } from "./strip.js";
import { settings } from "./words.js";

const NO_SUM = {
  top: "Top motion takes the frames of largest motion. It does not use the running sum.",
  segment: "Segments divide the time, not the motion. They do not use the running sum.",
  stride: "A fixed stride does not look at the motion. It does not use the running sum.",
  run: "The run is placed around one motion-guided pick. Its frames do not come from the running sum one by one.",
};

export class Panel {
  #id = null;
  #videos = new Map();
  #strips = new Map();
  #shown = null;
  #frame = null;

  /**
   * @param {object} parts `store`, `images`, `nameOf` (returns the name of a video), `failed` (is told of errors that
   *   concern the server), `known` (is called when a video has been read, or cannot be), `activate` (is called if the
   *   user chooses this panel), `exported` (`(kind, panel)`: the user wants an export).
   */
  constructor({ store, images, nameOf, failed, known, activate, exported }) {
    this.store = store;
    this.images = images;
    this.nameOf = nameOf;
    this.failed = failed;
    this.known = known;
    this.folders = element("span", { class: "folders" });
    this.file = element("span");
    this.title = element("h2", {}, this.folders, this.file);
    this.facts = element("p", { class: "facts" });
    const button = (kind, text, label) =>
      element("button", { type: "button", class: "quiet", "aria-label": label, text, on: { click: () => exported(kind, this) } });
    this.tools = element(
      "div",
      { class: "tools", role: "group", "aria-label": "Export" },
      button("svg", "SVG", "Save the picture as SVG"),
      button("png", "PNG", "Save the picture as PNG"),
      button("python", "Python", "Show the lines of Python that give these picks"),
    );
    this.message = element("div", { class: "message", hidden: true });
    this.curves = new Curves(images, (frame) => this.#point(frame));
    this.strips = element("div", { class: "strips" });
    this.element = element(
      "article",
      { class: "panel" },
      element("header", { class: "panel-header" }, element("div", { class: "panel-title" }, this.title, this.facts), this.tools),
      this.message,
      this.curves.element,
      this.strips,
    );
    this.element.addEventListener("pointerdown", activate);
    this.element.addEventListener("focusin", activate);
    this.#reset();
  }

  /** Show a video of the state: its `place` in `state.videos`. */
  show(state, place) {
    const id = state.videos[place] ?? null;
    if (id !== this.#id) {
      this.#reset();
      this.#id = id;
    }
    this.element.classList.toggle("active", state.videos.length > 1 && state.active === place);
    this.element.classList.toggle("compared", state.videos.length > 1);
    if (id === null) this.#tell("Choose a video in the list to compare.", "empty");
    else this.#draw(state);
  }

  /** Ask the server again for what it could not give. */
  retry() {
    for (const [level, entry] of this.#videos) if (!entry.video) this.#videos.delete(level);
  }

  /** What an export contains: `{video, rows, explanation}`, or null if nothing is shown yet. */
  get content() {
    return this.#shown;
  }

  /** Free everything that it waits for. */
  close() {
    this.#reset();
    this.element.remove();
  }

  #reset() {
    this.controller?.abort();
    this.picks?.close();
    this.controller = new AbortController();
    this.picks = new Picks(() => this.store.refresh(), this.failed);
    this.#videos.clear();
    this.#shown = null;
    this.#frame = null;
    this.images.leave(this.curves);
    for (const strip of this.#strips.values()) strip.close();
    this.#strips.clear();
    setText(this.folders, "");
    setText(this.file, "");
    setText(this.facts, "");
  }

  #draw(state) {
    const levels = state.rows.map(({ strategy }) => levelOf(strategy, state.rows));
    for (const level of new Set(levels)) this.#load(level);
    const known = levels.map((level) => this.#videos.get(level));
    const chosen = known[state.selected].video ?? known.find(({ video }) => video)?.video;
    if (!chosen) {
      const { error, frames } = known[state.selected];
      this.#name(this.nameOf(this.#id));
      setText(this.facts, "");
      this.#tell(error ?? measuring(frames), error ? "error" : "progress");
      return;
    }
    this.#tell("");
    this.#describe(chosen);
    const rows = state.rows.map(({ letter, strategy }, k) => {
      const { video, error, frames } = known[k];
      const result = video ? this.picks.of(letter, video, strategy) : { problem: error ?? measuring(frames) };
      return { letter, strategy, ...result };
    });
    this.picks.keep(state.rows.map(({ letter }) => letter));
    this.#drawRows(rows, state.selected, chosen);
    const { letter, strategy, explanation } = rows[state.selected];
    const drawn = rows.filter((row) => row.explanation);
    this.curves.show({
      video: chosen,
      rows: drawn.map((row) => ({ frames: row.explanation.rows[0].frames, letter: row.letter, colour: `row-${row.letter}` })),
      sum: known[state.selected].video === chosen ? explanation?.running_sum ?? null : null,
      colour: `row-${letter}`,
      note: NO_SUM[strategy.strategy] ?? "",
    });
    this.#shown = { video: chosen, rows: drawn, selected: rows[state.selected] };
    this.#point(this.#frame);
  }

  #drawRows(rows, selected, video) {
    for (const [letter, strip] of this.#strips) {
      if (rows.some((row) => row.letter === letter)) continue;
      strip.close();
      this.#strips.delete(letter);
    }
    rows.forEach(({ letter, strategy, explanation, problem, sign }, k) => {
      if (!this.#strips.has(letter)) this.#strips.set(letter, this.#newStrip(letter));
      const strip = this.#strips.get(letter);
      if (this.strips.children[k] !== strip.element) this.strips.insertBefore(strip.element, this.strips.children[k] ?? null);
      strip.show({
        letter,
        name: explanation?.rows[0].name ?? strategyOf(strategy.strategy).label,
        facts: settings(strategy),
        selected: k === selected,
        sign,
        problem,
        video: explanation ? video : null,
        frames: explanation?.rows[0].frames,
      });
    });
  }

  #newStrip(letter) {
    const selected = () => {
      const { rows } = this.store.state;
      this.store.set({ selected: rows.findIndex((row) => row.letter === letter) });
    };
    return new Strip(this.images, { moved: (frame) => this.#point(frame), selected });
  }

  async #load(level) {
    if (this.#videos.has(level)) return;
    const entry = { video: null, error: null, frames: null };
    this.#videos.set(level, entry);
    const { signal } = this.controller;
    try {
      entry.video = await api.video(this.#id, level, signal, (frames) => {
        entry.frames = frames;
        this.store.refresh();
      });
    } catch (error) {
      if (error.name === "AbortError") return;
      entry.error = error.message;
      if (error instanceof api.Unreachable) this.failed(error);
    }
    this.known();
    this.store.refresh();
  }

  #describe(video) {
    this.#name(video.name);
    setText(this.facts, factsOf(video));
  }

  #name(name) {
    const [folders, file] = splitName(name);
    setText(this.folders, folders);
    setText(this.file, file);
    this.title.title = name;
    this.element.setAttribute("aria-label", name || "Video");
  }

  /** Show a message instead of the video; none shows the video. */
  #tell(text, kind = "") {
    this.message.hidden = text === "";
    this.message.dataset.kind = kind;
    if (kind === "error") this.message.setAttribute("role", "alert");
    else this.message.setAttribute("role", "status");
    setText(this.message, text);
    for (const part of [this.curves.element, this.strips, this.tools]) part.hidden = text !== "";
  }

  #point(frame) {
    this.#frame = frame;
    this.curves.setCursor(frame);
    for (const strip of this.#strips.values()) strip.setCursor(frame);
  }
}

/** Return the level at which motion is needed for a strategy; for those without motion, one that others need. */
function levelOf(strategy, rows) {
  const uses = (each) => strategyOf(each.strategy).parameters.includes("level");
  if (uses(strategy)) return strategy.level;
  return rows.find((row) => uses(row.strategy))?.strategy.level ?? "image";
}

function measuring(frames) {
  return frames === null ? "Reading the video …" : `Measuring motion: ${whole(frames)} frames measured`;
}

function factsOf(video) {
  const { total, first_frame: first, frame_rate: rate, seconds, width, height } = video;
  const facts = [total === 1 ? "1 frame" : `${whole(total)} frames`];
  if (video.start !== null || video.end !== null) facts.push(`frames ${whole(first)} to ${whole(first + total - 1)} of the file`);
  if (rate > 0) facts.push(`${Number(rate.toFixed(2))} frames/s`);
  facts.push(`${width} × ${height}`);
  if (seconds) facts.push(time(seconds[total - 1] - seconds[0] + (rate > 0 ? 1 / rate : 0)));
  if (video.class) facts.push(video.class);
  return facts.join(" · ");
}
