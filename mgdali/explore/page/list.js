/**
 * The list of videos. Only the rows in view exist as elements; their data are loaded in pages.
 *
 * Browsers limit the height of an element. A longer list than that has a shorter scroll bar: small movements scroll by
 * pixels, as everywhere, and large ones by their share of the whole list.
 */

import * as api from "./api.js";
import { byId, debounced, element, setText, splitName } from "./dom.js";
import { short, whole } from "./scale.js";

const ROW = 54;
const PAGE = 100;
const MOST_PAGES = 40;
const MOST_HEIGHT = 8_000_000;
const SETTLE = 180;
const REFRESH = 1500;
const UPDATE = 250;
// Mean luma difference per pixel at which the bar of motion is full.
const FULL_MOTION = 30;

export class VideoList {
  #store;
  #view = byId("list");
  #space = byId("list-space");
  #elements = new Map();
  #pages = new Map();
  #total = 0;
  #offset = 0;
  #scrolled = 0;
  #cursor = 0;
  #query = null;
  #controller = new AbortController();
  #refresh = 0;
  #drawn = false;
  #awaited = null;
  #revealed = null;

  /**
   * @param {Store} store
   * @param {(error: Error) => void} failed Is called if the list cannot be loaded.
   */
  constructor(store, failed) {
    this.#store = store;
    this.failed = failed;
    this.#view.addEventListener("scroll", () => this.#scroll());
    this.#view.addEventListener("keydown", (event) => this.#key(event));
    this.#view.addEventListener("click", (event) => this.#click(event));
    new ResizeObserver(() => this.#draw()).observe(this.#view);
    this.settle = debounced(() => this.#settle(), SETTLE);
    /** Ask again for the rows in view, soon: something has become known about a video. */
    this.update = debounced(() => this.#reloadInView(), UPDATE);
    store.subscribe((state) => this.show(state));
  }

  /** Show the list of a state; loads it if the query has changed. */
  show(state) {
    if (this.#query !== state.list && JSON.stringify(this.#query) !== JSON.stringify(state.list)) {
      this.#query = state.list;
      this.reload();
    } else {
      this.#revealChosen();
      this.#draw();
    }
  }

  /** Load the list again from its beginning. */
  async reload() {
    this.#controller.abort();
    this.#controller = new AbortController();
    this.#pages.clear();
    clearTimeout(this.#refresh);
    await this.#load(0, true);
  }

  /** Return the data of the row at a place, or undefined if they are not loaded. */
  row(place) {
    const page = this.#pages.get(Math.floor(place / PAGE));
    return page instanceof Array ? page[place % PAGE] : undefined;
  }

  /** Return the name of a video, or an empty text if its row is not loaded. */
  nameOf(id) {
    for (const rows of this.#pages.values()) {
      const found = rows instanceof Array ? rows.find((row) => row.id === id) : undefined;
      if (found) return found.name;
    }
    return "";
  }

  /** Choose the video at a distance from the chosen one. */
  step(distance) {
    this.#cursor = Math.min(Math.max(this.#cursor + distance, 0), Math.max(this.#total - 1, 0));
    this.#reveal(this.#cursor);
    this.#choose(this.#cursor);
  }

  async #load(page, fresh = false) {
    if (this.#pages.has(page) && !fresh) return;
    const { signal } = this.#controller;
    this.#pages.set(page, this.#pages.get(page) ?? "loading");
    try {
      const answer = await api.videos(this.#query, page * PAGE, PAGE, signal);
      this.#pages.set(page, answer.rows);
      this.#arrived(answer, page, fresh);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#pages.delete(page);
      this.failed(error);
    }
  }

  #arrived(answer, page, fresh) {
    for (const old of this.#pages.keys()) {
      if (this.#pages.size <= MOST_PAGES) break;
      if (old !== page) this.#pages.delete(old);
    }
    if (fresh && page === 0 && answer.total !== this.#total) this.#resize(answer.total);
    if (fresh) this.#findCursor();
    this.#revealChosen();
    const videos = answer.total === 1 ? "1 video" : `${whole(answer.total)} videos`;
    setText(byId("list-status"), answer.total === 0 ? "No video matches." : videos);
    byId("list-incomplete").hidden = answer.complete;
    clearTimeout(this.#refresh);
    if (!answer.complete) this.#refresh = setTimeout(() => this.#reloadInView(), REFRESH);
    this.#draw();
    this.#firstDrawn();
    if (this.#awaited !== null) this.#choose(this.#awaited);
    this.onRows?.();
  }

  /** Ask again for the rows in view: their motion may be known now. */
  #reloadInView() {
    const [first, last] = this.#inView().map((place) => Math.floor(place / PAGE));
    for (const page of this.#pages.keys()) if (page < first || page > last) this.#pages.delete(page);
    for (let page = first; page <= last; page += 1) this.#load(page, true);
  }

  #firstDrawn() {
    if (this.#drawn) return;
    this.#drawn = true;
    requestAnimationFrame(() => setTimeout(() => performance.mark("mgdali:first-list"), 0));
  }

  get #chosen() {
    return this.#store.state.videos[this.#store.state.active];
  }

  /** Put the cursor on the chosen video, if its row is loaded. */
  #findCursor() {
    for (const [page, rows] of this.#pages) {
      const place = rows instanceof Array ? rows.findIndex(({ id }) => id === this.#chosen) : -1;
      if (place >= 0) this.#cursor = page * PAGE + place;
    }
  }

  /**
   * Scroll to the video that a link or the back button has chosen. This happens once per video, so that the list does
   * not move while the user scrolls.
   */
  async #revealChosen() {
    const chosen = this.#chosen;
    if (chosen === this.#revealed || !(this.#pages.get(0) instanceof Array)) return;
    this.#revealed = chosen;
    if (typeof chosen !== "number") return;
    this.#findCursor();
    const before = this.#offset;
    if (this.row(this.#cursor)?.id !== chosen && !(await this.#askForCursor(chosen))) return;
    if (this.#offset === before) this.#reveal(this.#cursor);
    else this.#draw();
  }

  /** Put the cursor on a video whose row is not loaded. Return whether the list contains it and it is still chosen. */
  async #askForCursor(chosen) {
    const { signal } = this.#controller;
    try {
      const place = await api.place(chosen, this.#query, signal);
      if (place === null || signal.aborted || chosen !== this.#chosen) return false;
      this.#cursor = place;
      return true;
    } catch (error) {
      // The panel of the video tells if the id is unknown.
      if (error.name !== "AbortError" && !(error instanceof api.RequestError)) this.failed(error);
      return false;
    }
  }

  #resize(total) {
    this.#total = total;
    this.#cursor = 0;
    this.#offset = 0;
    this.#space.style.height = `${Math.min(total * ROW, MOST_HEIGHT)}px`;
    this.#scrollTo(0);
  }

  get #scaled() {
    return this.#total * ROW > MOST_HEIGHT;
  }

  /** Length of the way from the first to the last position, in the scroll bar and in the whole list. */
  get #ways() {
    const height = this.#view.clientHeight;
    return [Math.max(Math.min(this.#total * ROW, MOST_HEIGHT) - height, 1), Math.max(this.#total * ROW - height, 1)];
  }

  #scroll() {
    const top = this.#view.scrollTop;
    const moved = top - this.#scrolled;
    this.#scrolled = top;
    if (moved === 0) return;
    const [bar, whole] = this.#ways;
    if (!this.#scaled) this.#offset = top;
    else if (Math.abs(moved) <= this.#view.clientHeight && top > 0 && top < bar) this.#offset += moved;
    else this.#offset = (top / bar) * whole;
    this.#offset = Math.min(Math.max(this.#offset, 0), whole);
    this.#draw();
    this.settle();
  }

  /** Move the scroll bar of a very long list to where its share of the list is. The rows stay in place. */
  #settle() {
    if (!this.#scaled) return;
    const [bar, whole] = this.#ways;
    this.#scrollTo((this.#offset / whole) * bar);
    this.#draw();
  }

  #scrollTo(top) {
    this.#view.scrollTop = top;
    this.#scrolled = this.#view.scrollTop;
  }

  #reveal(place) {
    const top = place * ROW;
    const height = this.#view.clientHeight;
    if (top >= this.#offset && top + ROW <= this.#offset + height) return;
    this.#offset = Math.min(Math.max(top < this.#offset ? top : top + ROW - height, 0), this.#ways[1]);
    if (this.#scaled) this.#settle();
    else this.#scrollTo(this.#offset);
    this.#draw();
  }

  #inView() {
    const first = Math.max(Math.floor(this.#offset / ROW) - 3, 0);
    const last = Math.min(Math.ceil((this.#offset + this.#view.clientHeight) / ROW) + 3, this.#total - 1);
    return [first, last];
  }

  #draw() {
    const [first, last] = this.#inView();
    for (const [place, item] of this.#elements) {
      if (place < first || place > last) {
        item.remove();
        this.#elements.delete(place);
      }
    }
    const shift = this.#scrolled - this.#offset;
    const { videos, active } = this.#store.state;
    for (let place = first; place <= last; place += 1) {
      if (!this.#elements.has(place)) this.#elements.set(place, this.#space.appendChild(newItem(place)));
      const item = this.#elements.get(place);
      const data = this.row(place);
      if (data === undefined) this.#load(Math.floor(place / PAGE));
      item.style.top = `${place * ROW + shift}px`;
      item.setAttribute("aria-setsize", this.#total);
      item.setAttribute("aria-selected", data !== undefined && videos[active] === data.id);
      item.classList.toggle("shown", data !== undefined && videos.includes(data.id));
      item.classList.toggle("cursor", place === this.#cursor);
      fillItem(item, data);
    }
    if (this.#elements.has(this.#cursor)) this.#view.setAttribute("aria-activedescendant", `video-${this.#cursor}`);
    else this.#view.removeAttribute("aria-activedescendant");
  }

  #choose(place) {
    const data = this.row(place);
    this.#awaited = data === undefined ? place : null;
    if (data === undefined) return;
    const { videos, active } = this.#store.state;
    if (videos[active] === data.id) return;
    // A row that the user has chosen is in view already.
    this.#revealed = data.id;
    const chosen = videos.length === 0 ? [data.id] : videos.map((id, k) => (k === active ? data.id : id));
    this.#store.set({ videos: chosen }, true);
  }

  #click(event) {
    const item = event.target.closest("[role=option]");
    if (!item) return;
    this.#cursor = Number(item.dataset.place);
    this.#choose(this.#cursor);
    this.onChosen?.();
  }

  #key(event) {
    const inPage = Math.max(Math.floor(this.#view.clientHeight / ROW) - 1, 1);
    const distances = { ArrowDown: 1, ArrowUp: -1, PageDown: inPage, PageUp: -inPage, Home: -this.#total, End: this.#total };
    if (event.key === "Enter") this.onChosen?.();
    if (!(event.key in distances) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.step(distances[event.key]);
  }
}

function newItem(place) {
  return element(
    "div",
    { role: "option", id: `video-${place}`, class: "video", "data-place": place, "aria-posinset": place + 1 },
    element("span", { class: "video-name" }),
    element("span", { class: "video-facts" }),
    element("span", { class: "video-motion", "aria-hidden": "true" }, element("span", { class: "bar" })),
    element("span", { class: "video-still" }),
  );
}

function fillItem(item, data) {
  const key = JSON.stringify(data ?? null);
  if (item.dataset.key === key) return;
  item.dataset.key = key;
  const [name, facts, motion, still] = item.children;
  item.classList.toggle("waiting", data === undefined);
  item.classList.toggle("broken", Boolean(data?.error));
  const [folders, file] = splitName(data?.name ?? "…");
  setText(name, file);
  item.title = data?.name ?? "";
  const folder = folders.replace(/([/\\]|::)$/, "");
  const frames = data?.frames ? `${whole(data.frames)} frame${data.frames === 1 ? "" : "s"}` : null;
  const parts = [frames, data?.class, splitName(folder)[1] === data?.class ? null : folder];
  setText(facts, data?.error ?? parts.filter(Boolean).join(" · "));
  const known = typeof data?.motion === "number";
  motion.hidden = !known || Boolean(data.error);
  still.hidden = typeof data?.still !== "number" || Boolean(data.error);
  if (!still.hidden) setText(still, `${Math.round(100 * data.still)}% still`);
  if (!known) return;
  motion.title = `Motion: ${short(data.motion)} per frame and pixel`;
  motion.firstChild.style.width = `${100 * Math.min(Math.sqrt(data.motion / FULL_MOTION), 1)}%`;
}
