/**
 * Drawing the two curves: motion with the positions of the picks, and the running sum with its parts. Each function
 * returns a group of SVG elements. The page and the exported picture use the same functions with different colours:
 * `ink(name)` returns the colour of that name.
 */

import { svg } from "./dom.js";
import { extremes, placeOf, roundTicks, short, tickTime } from "./scale.js";

/** Height of one line of marks below the motion curve, in pixels. */
export const LANE = 17;
/** Height of an axis with its labels. */
export const AXIS = 34;
/** Height of the axis of times above the motion curve. */
export const TIMES = 20;

const MOST_PART_LABELS = 20;
const LEAST_PART_LABEL = 13;
// With more levels than this, their lines are pale and the points small.
const MANY_LEVELS = 64;
const LABEL_WIDTH = 64;
const TEXT = { "font-size": 11 };

/** Return the largest value of the axis of motion. */
export const motionTop = (motion) => Math.max(largest(motion), 1) * 1.08;

/**
 * Draw S, one step per frame. With more frames than pixels, each column shows the smallest and largest value.
 * @param {object} scale The horizontal scale (`frameScale`).
 * @param {ArrayLike<number>} motion S of each frame.
 * @param {{top: number, height: number}} box
 */
export function motionCurve(scale, motion, box, ink) {
  const y = upwards(box, motionTop(motion));
  const bottom = box.top + box.height;
  const group = svg("g", { class: "motion-curve" });
  const ticks = roundTicks(0, motionTop(motion), Math.max(Math.floor(box.height / 28), 2), true);
  for (const tick of ticks) {
    group.append(
      line(scale.left, y(tick), scale.right, y(tick), ink("grid")),
      label(scale.left - 7, y(tick) + 4, short(tick), ink("soft"), "end"),
    );
  }
  if (scale.perPixel <= 1) {
    const steps = stairs(motion, scale.edge, y);
    group.append(
      svg("path", { d: `M${scale.left} ${bottom}${steps}V${bottom}Z`, fill: ink("pale") }),
      svg("path", { d: `M${scale.left} ${y(motion[0]).toFixed(1)}${steps}`, fill: "none", stroke: ink("curve"), "stroke-width": 1.2 }),
    );
  } else {
    const columns = Math.max(Math.floor(scale.width), 1);
    const { low, high } = extremes(motion, columns);
    const edge = (column) => scale.left + (column / columns) * scale.width;
    const above = stairs(high, edge, y);
    const below = stairs([...low].reverse(), (column) => edge(columns - column), y);
    group.append(
      svg("path", { d: `M${scale.left} ${bottom}${above}V${bottom}Z`, fill: ink("pale") }),
      svg("path", { d: `M${scale.left} ${y(high[0]).toFixed(1)}${above}${below}Z`, fill: ink("curve"), stroke: ink("curve"), "stroke-width": 0.5 }),
    );
  }
  group.append(line(scale.left, bottom, scale.right, bottom, ink("axis")));
  return group;
}

/** Draw one line of marks per row of picks: `rows` are `{frames, colour, letter}`, `colour` a name for `ink`. */
export function lanes(scale, rows, top, ink) {
  const group = svg("g", { class: "lanes" });
  rows.forEach(({ frames, colour, letter }, lane) => {
    const y = top + LANE * lane + 4;
    const marks = Array.from(new Set(frames), (frame) => `M${scale.at(frame).toFixed(1)} ${y}l4.5 8.5h-9z`);
    group.append(
      svg("path", { d: marks.join(""), fill: ink(colour) }),
      svg("text", { ...TEXT, x: scale.left - 9, y: y + 8, fill: ink(colour), "text-anchor": "end", "font-weight": 700, text: letter }),
    );
  });
  return group;
}

/**
 * Draw the running sum, the levels that lead to the picks, and the picks.
 * @param {object} sum `running_sum` of an explanation.
 * @param {string} colour Name of the colour of the picks.
 */
export function sumCurve(scale, sum, box, colour, ink) {
  const y = upwards(box, 1);
  const count = sum.levels.length;
  const part = box.height / count;
  const group = svg("g", { class: "sum-curve" });
  let bands = "";
  for (let i = 0; i < count; i += 2) bands += `M${scale.left} ${y(i / count).toFixed(2)}h${scale.width}v${(-part).toFixed(2)}h${-scale.width}z`;
  group.append(svg("path", { d: bands, fill: ink("band") }));
  const every = Math.ceil(count / Math.min(MOST_PART_LABELS, Math.max(Math.floor(box.height / LEAST_PART_LABEL), 1)));
  for (let i = 0; i < count; i += every) {
    group.append(label(scale.left - 7, y((i + 0.5) / count) + 4, i + 1, ink("soft"), "end"));
  }
  let levels = "";
  let drops = "";
  let points = "";
  const many = count > MANY_LEVELS;
  const size = many ? 1.2 : 3.5;
  for (let i = 0; i < count; i += 1) {
    const x = scale.at(sum.picks[i]).toFixed(1);
    levels += `M${scale.left} ${y(sum.levels[i]).toFixed(2)}H${x}`;
    drops += `M${x} ${y(0)}V${y(Math.max(sum.levels[i], sum.meets[i])).toFixed(2)}`;
    points += circle(x, y(sum.meets[i]), size);
  }
  const shade = many ? 0.2 : 1;
  group.append(
    svg("path", { d: levels, fill: "none", stroke: ink(colour), "stroke-dasharray": "1.5 2.5", opacity: shade }),
    svg("path", { d: drops, fill: "none", stroke: ink(colour), opacity: shade }),
    svg("path", { d: sumPath(scale, sum, y), fill: "none", stroke: ink("curve"), "stroke-width": 1.5, "stroke-linejoin": "round" }),
    svg("path", { d: points, fill: ink(colour), stroke: many ? "none" : ink("paper") }),
    line(scale.left, y(0), scale.right, y(0), ink("axis")),
    line(scale.left, y(0), scale.left, y(1), ink("axis")),
  );
  return group;
}

/** Draw the axis of frames, with its line at `top`. */
export function frameAxis(scale, { first_frame: first, total }, top, ink) {
  const group = svg("g", { class: "frame-axis" });
  for (const tick of roundTicks(first, first + total - 1, Math.floor(scale.width / LABEL_WIDTH), true)) {
    const x = scale.at(tick);
    group.append(line(x, top, x, top + 4, ink("axis")), label(x, top + 16, tick, ink("soft"), "middle"));
  }
  group.append(label(scale.left + scale.width / 2, top + 30, "frame", ink("soft"), "middle"));
  return group;
}

/** Draw the axis of times, with its marks down to `bottom`. */
export function timeAxis(scale, { first_frame: first, seconds }, bottom, ink) {
  const group = svg("g", { class: "time-axis" });
  for (const tick of roundTicks(seconds[0], seconds.at(-1), Math.floor(scale.width / LABEL_WIDTH))) {
    const x = scale.at(first + placeOf(seconds, tick));
    group.append(line(x, bottom - 3, x, bottom, ink("axis")), label(x, bottom - 7, tickTime(tick), ink("soft"), "middle"));
  }
  return group;
}

/** Return the share of the running sum at a frame, or null if the curve does not contain the frame. */
export function shareAt(sum, frame) {
  const place = frame - sum.x[0];
  return place >= 0 && place < sum.y.length ? sum.y[place] : null;
}

/** Return the function that converts a value from 0 to `most` to its height in the box. */
export function upwards({ top, height }, most) {
  return (value) => top + height * (1 - value / most);
}

function sumPath(scale, sum, y) {
  // One point per half pixel is enough: the curve only rises.
  const every = Math.max(Math.floor(scale.perPixel / 2), 1);
  const at = (k) => `${scale.at(sum.x[k]).toFixed(2)}`;
  const steps = sum.inverse === "step";
  let path = steps ? `M${scale.left} ${y(0)}` : `M${at(0)} ${y(sum.y[0]).toFixed(2)}`;
  for (let k = 0; k < sum.y.length; k += every) {
    const last = Math.min(k + every, sum.y.length) - 1;
    path += steps ? `H${at(last)}V${y(sum.y[last]).toFixed(2)}` : `L${at(last)} ${y(sum.y[last]).toFixed(2)}`;
  }
  return steps ? `${path}H${scale.right}` : path;
}

function stairs(values, edge, y) {
  let path = "";
  for (let place = 0; place < values.length; place += 1) {
    path += `V${y(values[place]).toFixed(1)}H${edge(place + 1).toFixed(2)}`;
  }
  return path;
}

function largest(values) {
  let most = 0;
  for (const value of values) if (value > most) most = value;
  return most;
}

function circle(x, y, radius) {
  return `M${x} ${y.toFixed(2)}m${-radius} 0a${radius} ${radius} 0 1 0 ${2 * radius} 0a${radius} ${radius} 0 1 0 ${-2 * radius} 0z`;
}

function line(x1, y1, x2, y2, stroke) {
  return svg("line", { x1, y1, x2, y2, stroke });
}

function label(x, y, text, fill, anchor) {
  return svg("text", { ...TEXT, x, y, fill, "text-anchor": anchor, text });
}
