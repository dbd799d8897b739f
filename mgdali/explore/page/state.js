/**
 * What the page shows, and its form in the address: a link reproduces the view.
 *
 * The state is never changed in place. It has these members:
 *   videos    ids of the shown videos: none, one, or two that are compared; null where one is still to be chosen
 *   active    place in `videos` of the one that a click on the list replaces
 *   rows      `{letter, strategy}` of each row of picks, at most six; a row keeps its letter and with it its colour
 *   selected  place in `rows` of the row that the controls change and the curves explain
 *   together  whether the number of frames changes in all rows at once
 *   list      `{search, className, sort, descending}`
 */

import { fromQuery, toQuery } from "./strategies.js";

/** Letters of the rows. Each stands for a colour. */
export const LETTERS = ["A", "B", "C", "D", "E", "F"];

const WRITE_DELAY = 300;
const SORTS = ["name", "frames", "motion", "still", "class"];

/** Return the state with which the page begins. */
export function firstState() {
  return {
    videos: [],
    active: 0,
    rows: [row("A", "strategy=motion"), row("B", "strategy=segment")],
    selected: 0,
    together: true,
    list: { search: "", className: "", sort: "name", descending: false },
  };
}

/** Return the part of the address after `#` that describes a state. */
export function toHash(state) {
  const parts = [];
  if (state.videos.length > 0) parts.push(`video=${state.videos.map((id) => id ?? "").join(",")}`);
  if (state.active > 0) parts.push("active=1");
  for (const { letter, strategy } of state.rows) {
    const pairs = [...new URLSearchParams(toQuery(strategy))].map((pair) => pair.map(encodeURIComponent).join(":"));
    parts.push(`${letter}=${pairs.join(",")}`);
  }
  if (state.selected > 0) parts.push(`selected=${state.rows[state.selected].letter}`);
  if (!state.together) parts.push("together=0");
  const { search, className, sort, descending } = state.list;
  if (search) parts.push(`search=${encodeURIComponent(search)}`);
  if (className) parts.push(`class=${encodeURIComponent(className)}`);
  if (sort !== "name") parts.push(`sort=${sort}`);
  if (descending) parts.push("descending=1");
  return parts.join("&");
}

/** Return the state that such a text describes. What is missing or wrong in it gets its first value. */
export function fromHash(hash) {
  const state = firstState();
  const values = new URLSearchParams(hash.replace(/^#/, ""));
  const ids = (values.get("video") ?? "").split(",").slice(0, 2);
  if (values.get("video")) state.videos = ids.map((id) => (/^\d{1,12}$/.test(id) ? Number(id) : null));
  if (state.videos.length === 1 && state.videos[0] === null) state.videos = [];
  if (values.get("active") === "1" && state.videos.length === 2) state.active = 1;
  const rows = LETTERS.filter((letter) => values.has(letter)).map((letter) => readRow(letter, values.get(letter)));
  if (rows.some((known) => known !== null)) state.rows = rows.filter((known) => known !== null);
  state.selected = Math.max(state.rows.findIndex(({ letter }) => letter === values.get("selected")), 0);
  state.together = values.get("together") !== "0";
  state.list.search = values.get("search") ?? "";
  state.list.className = values.get("class") ?? "";
  if (SORTS.includes(values.get("sort"))) state.list.sort = values.get("sort");
  state.list.descending = values.get("descending") === "1";
  return state;
}

/** Holds the state, tells everyone who shows it about changes, and keeps the address up to date. */
export class Store {
  #listeners = [];
  #timer = 0;

  constructor() {
    this.state = fromHash(location.hash);
    addEventListener("popstate", () => this.#changed(fromHash(location.hash)));
  }

  /** Call `listener(state, before)` after each change. */
  subscribe(listener) {
    this.#listeners.push(listener);
  }

  /**
   * Change members of the state.
   * @param {object} change The new values.
   * @param {boolean} [step] Whether the browser's back button returns to the state before.
   */
  set(change, step = false) {
    if (step) {
      this.#write();
      history.pushState(null, "", `#${toHash({ ...this.state, ...change })}`);
    } else {
      // Browsers refuse too many changes of the address in a short time.
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#write(), WRITE_DELAY);
    }
    this.#changed({ ...this.state, ...change });
  }

  /** Change the strategy of one row; of all rows if it is the number of frames and they change together. */
  setStrategy(place, change, step = false) {
    const all = this.state.together && Object.keys(change).join() === "numFrames";
    const rows = this.state.rows.map((known, k) =>
      all || k === place ? { ...known, strategy: { ...known.strategy, ...change } } : known,
    );
    this.set({ rows }, step);
  }

  /** Tell everyone to show the state again, because data have arrived. */
  refresh() {
    this.#changed(this.state);
  }

  #write() {
    clearTimeout(this.#timer);
    history.replaceState(null, "", `#${toHash(this.state)}`);
  }

  #changed(state) {
    const before = this.state;
    this.state = state;
    for (const listener of this.#listeners) listener(state, before);
  }
}

function row(letter, query) {
  return { letter, strategy: fromQuery(new URLSearchParams(query)) };
}

function readRow(letter, text) {
  try {
    // URLSearchParams has decoded the text once, and decodes the values here once more.
    return row(letter, text.replaceAll(",", "&").replaceAll(":", "="));
  } catch {
    return null;
  }
}
