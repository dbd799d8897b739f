/**
 * The two curves of one video on the page, and the cursor that connects a frame with its places on both of them.
 */

import { AXIS, LANE, TIMES, frameAxis, lanes, motionCurve, motionTop, shareAt, sumCurve, timeAxis, upwards } from "./chart.js";
import { element, setText, svg } from "./dom.js";
import { writeTitle } from "./formula.js";
import { frameScale, short, time, whole } from "./scale.js";

const LEFT = 40;
const RIGHT = 10;
const NARROW = 520;
const SNAP = 3;
const PREVIEW_HEIGHT = 180;
const STEPS = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1, PageDown: -10, PageUp: 10 };

/** Return the colour of this name in the page's present theme. */
const ink = (name) => `var(--${name})`;

export class Curves {
  #shown = null;
  #frame = null;
  #scale = null;
  #drawn = {};

  /**
   * @param {Images} images
   * @param {(frame: number|null) => void} moved Is called if the user moves the cursor.
   */
  constructor(images, moved) {
    this.images = images;
    this.moved = moved;
    this.motion = svg("svg", { class: "chart", "aria-hidden": "true" });
    this.sum = svg("svg", { class: "chart", "aria-hidden": "true" });
    this.motionCursor = svg("g", { class: "cursor" });
    this.sumCursor = svg("g", { class: "cursor" });
    this.sumTitle = element("h3");
    this.note = element("p", { class: "note" });
    this.picture = element("img", { alt: "" });
    this.reading = element("p");
    this.preview = element("div", { class: "preview", "aria-hidden": "true", hidden: true }, this.picture, this.reading);
    this.field = element(
      "div",
      { class: "field", role: "slider", tabindex: 0, "aria-label": "Frame under the cursor of the curves" },
      element("h3", { text: "Motion: how much each frame differs from the one before" }),
      this.motion,
      this.sumTitle,
      this.sum,
      this.preview,
    );
    this.element = element("div", { class: "curves" }, this.field, this.note);
    this.field.addEventListener("pointermove", (event) => this.#point(event));
    this.field.addEventListener("pointerdown", (event) => this.#point(event));
    this.field.addEventListener("pointerleave", () => this.moved(null));
    this.field.addEventListener("blur", () => this.moved(null));
    this.field.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#shown && this.show(this.#shown)).observe(this.element);
  }

  /**
   * Draw.
   * @param {object} shown `video` as the server describes it, `rows` of picks `{frames, letter, colour}`, `sum` (the
   *   running sum of the selected row, or null), `colour` of that row, and `note`, shown if there is no running sum.
   */
  show(shown) {
    this.#shown = shown;
    const width = Math.floor(this.element.clientWidth);
    if (width === 0) return;
    const { video, rows, sum } = shown;
    const narrow = width < NARROW;
    const times = video.seconds ? TIMES : 6;
    const box = { top: times, height: narrow ? 96 : 124 };
    const marks = box.top + box.height + 4;
    const end = marks + LANE * rows.length;
    const whenNew = [video, width];
    if (this.#changed("scale", whenNew)) this.#scale = frameScale(video, LEFT, width - LEFT - RIGHT);
    const scale = this.#scale;
    this.motionBox = box;
    this.sumBox = { top: 6, height: narrow ? 190 : 236 };
    size(this.motion, width, sum ? end + 4 : end + AXIS);
    this.#layer(this.motion, "curve", whenNew, () => motionCurve(scale, video.motion, box, ink));
    this.#layer(this.motion, "times", whenNew, () => (video.seconds ? timeAxis(scale, video, box.top, ink) : svg("g")));
    this.#layer(this.motion, "lanes", null, () => lanes(scale, rows, marks, ink));
    this.#layer(this.motion, "frames", [video, width, Boolean(sum), end], () => (sum ? svg("g") : frameAxis(scale, video, end, ink)));
    this.motion.append(this.motionCursor);
    for (const part of [this.sum, this.sumTitle]) part.toggleAttribute("hidden", !sum);
    setText(this.note, sum ? "" : shown.note);
    if (sum) this.#showSum(shown, width);
    this.#describe();
    this.setCursor(this.#frame);
  }

  #showSum({ video, sum, colour }, width) {
    const bottom = this.sumBox.top + this.sumBox.height;
    size(this.sum, width, bottom + AXIS);
    writeTitle(this.sumTitle, sum.title);
    this.#layer(this.sum, "sum", [sum, colour, width], () => sumCurve(this.#scale, sum, this.sumBox, colour, ink));
    this.#layer(this.sum, "sumFrames", [video, width], () => frameAxis(this.#scale, video, bottom, ink));
    this.sum.append(this.sumCursor);
  }

  /** Show the cursor at a frame; null hides it. */
  setCursor(frame) {
    const video = this.#shown?.video;
    this.#frame = frame;
    if (!video || !this.#scale) return;
    const within = frame !== null && frame >= video.first_frame && frame < video.first_frame + video.total;
    this.preview.hidden = !within;
    for (const group of [this.motionCursor, this.sumCursor]) group.replaceChildren();
    if (!within) {
      this.images.leave(this);
      return;
    }
    const x = this.#scale.at(frame);
    const S = video.motion[frame - video.first_frame];
    drawCursor(this.motionCursor, x, 0, Number(this.motion.getAttribute("height")), upwards(this.motionBox, motionTopOf(video))(S));
    const { sum } = this.#shown;
    const share = sum ? shareAt(sum, frame) : null;
    if (sum) drawCursor(this.sumCursor, x, 0, this.sumBox.top + this.sumBox.height, share === null ? null : upwards(this.sumBox, 1)(share));
    this.#describe();
    this.#showPreview(x, frame);
  }

  /** Read the value at the cursor aloud, and write it below the image. */
  #describe() {
    const { video, rows } = this.#shown;
    const frame = this.#frame ?? video.first_frame;
    const place = Math.min(Math.max(frame - video.first_frame, 0), video.total - 1);
    const parts = [`frame ${whole(video.first_frame + place)}`];
    if (video.seconds) parts.push(time(video.seconds[place]));
    parts.push(`S ${short(video.motion[place])}`);
    const pickedBy = rows.filter(({ frames }) => frames.includes(frame)).map(({ letter }) => letter);
    if (pickedBy.length > 0) parts.push(`picked by ${pickedBy.join(", ")}`);
    const text = parts.join(" · ");
    setText(this.reading, text);
    this.field.setAttribute("aria-valuemin", video.first_frame);
    this.field.setAttribute("aria-valuemax", video.first_frame + video.total - 1);
    this.field.setAttribute("aria-valuenow", video.first_frame + place);
    this.field.setAttribute("aria-valuetext", text);
  }

  #showPreview(x, frame) {
    const { video } = this.#shown;
    const draw = () => {
      if (this.#frame !== frame) return;
      const url = this.images.get(video.id, frame, PREVIEW_HEIGHT);
      this.picture.classList.toggle("waiting", url === undefined);
      if (url === undefined) this.picture.removeAttribute("src");
      else if (this.picture.getAttribute("src") !== url) this.picture.src = url;
    };
    this.picture.style.aspectRatio = `${video.width} / ${video.height}`;
    draw();
    this.images.want(this, video.id, [frame], PREVIEW_HEIGHT, draw);
    const width = this.preview.offsetWidth;
    const right = x + 14 + width <= this.element.clientWidth;
    this.preview.style.left = `${right ? x + 14 : Math.max(x - 14 - width, 0)}px`;
    const above = this.motion.getBoundingClientRect().top - this.field.getBoundingClientRect().top;
    this.preview.style.top = `${above + this.motionBox.top}px`;
  }

  #point(event) {
    if (!this.#scale) return;
    const x = event.clientX - this.motion.getBoundingClientRect().left;
    if (x < LEFT - 8 || x > this.#scale.right + RIGHT) {
      this.moved(null);
      return;
    }
    this.moved(this.#snapped(x));
  }

  /** Return the frame at a position: a picked one close by if there are several frames per pixel. */
  #snapped(x) {
    const frame = this.#scale.frameAt(x);
    if (this.#scale.perPixel <= 1) return frame;
    let best = frame;
    let distance = SNAP;
    for (const { frames } of this.#shown.rows) {
      for (const picked of frames) {
        const away = Math.abs(this.#scale.at(picked) - x);
        if (away < distance) [best, distance] = [picked, away];
      }
    }
    return best;
  }

  #key(event) {
    if (!this.#shown || event.ctrlKey || event.metaKey || event.altKey) return;
    const { first_frame: first, total } = this.#shown.video;
    const ends = { Home: first, End: first + total - 1 };
    if (!(event.key in STEPS) && !(event.key in ends)) return;
    event.preventDefault();
    const step = (STEPS[event.key] ?? 0) * (event.shiftKey ? 10 : 1);
    const start = this.#frame ?? (step > 0 ? first - 1 : first);
    this.moved(Math.min(Math.max(ends[event.key] ?? start + step, first), first + total - 1));
  }

  #changed(name, values) {
    const before = this.#drawn[name];
    this.#drawn[name] = values;
    return !before || !values || values.some((value, k) => value !== before[k]);
  }

  #layer(parent, name, values, draw) {
    if (!this.#changed(name, values)) return;
    const layer = draw();
    const old = parent.querySelector(`:scope > [data-layer=${name}]`);
    layer.dataset.layer = name;
    if (old) old.replaceWith(layer);
    else parent.append(layer);
  }
}

const tops = new WeakMap();

function motionTopOf(video) {
  if (!tops.has(video)) tops.set(video, motionTop(video.motion));
  return tops.get(video);
}

function size(chart, width, height) {
  chart.setAttribute("width", width);
  chart.setAttribute("height", height);
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
}

function drawCursor(group, x, top, bottom, y) {
  group.append(svg("line", { x1: x, x2: x, y1: top, y2: bottom, stroke: ink("ink"), "stroke-width": 1, opacity: 0.55 }));
  if (y !== null) group.append(svg("circle", { cx: x, cy: y, r: 4, fill: ink("paper"), stroke: ink("ink"), "stroke-width": 2 }));
}
