/** One row of picked frames: its heading and its images. */

import { element, setText } from "./dom.js";
import { time, whole } from "./scale.js";

const IMAGE_HEIGHT = 144;
const CELL = 104;
const NARROW_CELL = 76;
const LEAST_COLUMNS = 4;
const MANY = 48;
const STEPS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };

export class Strip {
  #shown = null;
  #cells = [];
  #visible = new Set();
  #focused = 0;

  /**
   * @param {Images} images
   * @param {{moved: (frame: number|null) => void, selected: () => void}} on Is told about the frame that the user
   *   points at, and about a click on the heading.
   */
  constructor(images, on) {
    this.images = images;
    this.on = on;
    this.letter = element("span", { class: "letter" });
    this.name = element("span", { class: "strip-name" });
    this.heading = element("button", { class: "strip-heading", type: "button", on: { click: on.selected } }, this.letter, this.name);
    this.facts = element("span", { class: "strip-facts" });
    this.sign = element("span", { class: "sign" });
    this.problem = element("p", { class: "note", hidden: true });
    this.cells = element("div", { class: "cells", role: "group" });
    const header = element("header", {}, this.heading, this.facts, this.sign);
    this.element = element("section", { class: "strip" }, header, this.problem, this.cells);
    // The part of the page that scrolls; images a little outside of it are loaded too.
    const root = document.querySelector("main");
    this.observer = new IntersectionObserver((entries) => this.#seen(entries), { root, rootMargin: "500px" });
    this.cells.addEventListener("pointerover", (event) => this.#point(event));
    this.cells.addEventListener("focusin", (event) => this.#point(event));
    this.cells.addEventListener("pointerleave", () => on.moved(null));
    this.cells.addEventListener("focusout", () => on.moved(null));
    this.cells.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#layout()).observe(this.element);
  }

  /**
   * Show a row of picks.
   * @param {object} shown `letter`, `name`, `facts` (its settings), `selected`, `sign` (`{text, kind}`), and either
   *   `video` and `frames` (indices in the file), or `problem` (the reason that no frames can be shown).
   */
  show(shown) {
    this.#shown = shown;
    this.element.dataset.letter = shown.letter;
    this.element.classList.toggle("selected", shown.selected);
    this.heading.setAttribute("aria-pressed", shown.selected);
    setText(this.letter, shown.letter);
    setText(this.name, shown.name);
    setText(this.facts, shown.facts);
    setText(this.sign, shown.sign?.text ?? "");
    this.sign.dataset.kind = shown.sign?.kind ?? "";
    setText(this.problem, shown.problem ?? "");
    this.problem.hidden = !shown.problem;
    this.cells.setAttribute("aria-label", `Frames picked by ${shown.letter}: ${shown.name}`);
    this.#fill();
  }

  /** Mark the images of a frame. */
  setCursor(frame) {
    const frames = this.#shown?.frames ?? [];
    this.#cells.forEach(({ cell }, k) => cell.classList.toggle("under-cursor", frame !== null && frames[k] === frame));
  }

  /** Forget the images that this row wants. */
  close() {
    this.observer.disconnect();
    this.images.leave(this);
    this.element.remove();
  }

  #fill() {
    const { frames = [], video } = this.#shown;
    while (this.#cells.length > frames.length) this.#drop(this.#cells.pop());
    while (this.#cells.length < frames.length) this.#add();
    this.#layout();
    this.#focused = Math.min(this.#focused, Math.max(frames.length - 1, 0));
    frames.forEach((frame, k) => {
      const { cell, picture, number, seconds } = this.#cells[k];
      const when = video.seconds ? time(video.seconds[frame - video.first_frame]) : "";
      setText(number, String(frame));
      setText(seconds, when);
      cell.dataset.frame = frame;
      cell.tabIndex = k === this.#focused ? 0 : -1;
      cell.setAttribute("aria-label", `Frame ${whole(frame)}${when ? `, ${when}` : ""}`);
      picture.style.aspectRatio = `${video.width} / ${video.height}`;
    });
    this.#showImages();
    this.#want();
  }

  #add() {
    const picture = element("img", { alt: "", draggable: "false" });
    const [number, seconds] = [element("span"), element("span", { class: "seconds" })];
    const cell = element("button", { type: "button", class: "cell" }, picture, element("span", { class: "label" }, number, seconds));
    this.#cells.push({ cell, picture, number, seconds });
    this.cells.append(cell);
    this.observer.observe(cell);
  }

  #drop({ cell }) {
    this.observer.unobserve(cell);
    this.#visible.delete(cell);
    cell.remove();
  }

  /** Distribute the images evenly over as few lines as possible. */
  #layout() {
    const width = this.cells.clientWidth;
    const count = this.#cells.length;
    if (width === 0 || count === 0) return;
    const most = Math.max(Math.floor(width / (width < 500 ? NARROW_CELL : CELL)), 1);
    const lines = Math.ceil(count / most);
    const columns = Math.max(count > MANY ? most : Math.ceil(count / lines), Math.min(LEAST_COLUMNS, most));
    this.cells.style.setProperty("--columns", columns);
    this.cells.classList.toggle("many", count > MANY);
    this.cells.classList.toggle("no-times", width / columns < 92);
  }

  #seen(entries) {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) this.#visible.add(target);
      else this.#visible.delete(target);
    }
    this.#want();
  }

  #want() {
    const { video } = this.#shown;
    if (!video) return;
    const frames = [...this.#visible].map((cell) => Number(cell.dataset.frame));
    this.images.want(this, video.id, frames, IMAGE_HEIGHT, () => this.#showImages());
  }

  /** Show the images that have arrived. Until then, a changed cell shows its former image, pale. */
  #showImages() {
    const { video, frames = [] } = this.#shown;
    frames.forEach((frame, k) => {
      const { cell, picture } = this.#cells[k];
      const url = this.images.get(video.id, frame, IMAGE_HEIGHT);
      const error = this.images.error(video.id, frame, IMAGE_HEIGHT);
      cell.classList.toggle("waiting", url === undefined && error === undefined);
      cell.classList.toggle("failed", error !== undefined);
      cell.title = error ?? "";
      if (url !== undefined && picture.getAttribute("src") !== url) picture.src = url;
      if (error !== undefined) picture.removeAttribute("src");
    });
  }

  #point(event) {
    const cell = event.target.closest(".cell");
    if (cell) this.on.moved(Number(cell.dataset.frame));
  }

  #key(event) {
    if (!(event.key in STEPS) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const last = this.#cells.length - 1;
    this.#focused = Math.min(Math.max(this.#focused + STEPS[event.key], 0), last);
    this.#cells.forEach(({ cell }, k) => {
      cell.tabIndex = k === this.#focused ? 0 : -1;
    });
    this.#cells[this.#focused].cell.focus();
  }
}
