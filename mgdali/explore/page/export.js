/** Exports: the picture as SVG and as PNG, in light colours and with its images, and the lines of Python. */

import { AXIS, LANE, TIMES, frameAxis, lanes, motionCurve, sumCurve, timeAxis } from "./chart.js";
import { byId, element, svg } from "./dom.js";
import { pieces } from "./formula.js";
import { frameScale } from "./scale.js";
import { pythonLines } from "./strategies.js";
import { settings } from "./words.js";

const WIDTH = 1200;
const LEFT = 70;
const RIGHT = 24;
const COLUMNS = 10;
const LEAST_COLUMNS = 6;
const MOST_IMAGES = 60;
const IMAGE_HEIGHT = 240;
const PNG_SCALE = 2;

/**
 * Return the picture as a standalone SVG element.
 * @param {{video: object, rows: object[], selected: object}} content `content` of a panel.
 * @param {Images} images
 */
export async function picture({ video, rows, selected }, images) {
  const ink = lightInk();
  const scale = frameScale(video, LEFT, WIDTH - LEFT - RIGHT);
  const drawn = svg("g");
  drawn.append(heading(selected.explanation?.title ?? video.name, 40, 20, ink("ink")));
  const box = { top: 78 + TIMES, height: 160 };
  drawn.append(heading("Motion: how much each frame differs from the one before", 70, 14, ink("ink"), 400));
  if (video.seconds) drawn.append(timeAxis(scale, video, box.top, ink));
  drawn.append(motionCurve(scale, video.motion, box, ink));
  const marks = rows.map(({ letter, explanation }) => ({ frames: explanation.rows[0].frames, letter, colour: `row-${letter}` }));
  drawn.append(lanes(scale, marks, box.top + box.height + 4, ink));
  let top = box.top + box.height + 8 + LANE * rows.length;
  const sum = selected.explanation?.running_sum;
  if (sum) {
    const sumBox = { top: top + 46, height: 330 };
    drawn.append(heading(sum.title, top + 32, 14, ink("ink"), 400));
    drawn.append(sumCurve(scale, sum, sumBox, `row-${selected.letter}`, ink));
    top = sumBox.top + sumBox.height;
  }
  drawn.append(frameAxis(scale, video, top, ink));
  top += AXIS + 14;
  for (const row of rows) top = await addImages(drawn, top, video, row, images, ink);
  const height = Math.ceil(top + 10);
  const page = svg("rect", { width: WIDTH, height, fill: ink("paper") });
  return svg(
    "svg",
    { xmlns: "http://www.w3.org/2000/svg", width: WIDTH, height, viewBox: `0 0 ${WIDTH} ${height}`, "font-family": "system-ui, sans-serif" },
    page,
    drawn,
  );
}

/** Return an SVG element as a text. */
export const svgText = (drawn) => new XMLSerializer().serializeToString(drawn);

/** Return an SVG element as a PNG file, at twice its size. */
export async function png(drawn) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svgText(drawn))}`;
  await image.decode();
  const canvas = element("canvas");
  canvas.width = PNG_SCALE * Number(drawn.getAttribute("width"));
  canvas.height = PNG_SCALE * Number(drawn.getAttribute("height"));
  const context = canvas.getContext("2d");
  context.scale(PNG_SCALE, PNG_SCALE);
  context.drawImage(image, 0, 0);
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("The picture is too large for a PNG file. Save it as SVG."))), "image/png");
  });
}

/** Let the browser save a file. */
export function save(content, type, name) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Return the name of a file for the picture of a video. */
export function fileName(video, ending) {
  const last = video.name.split(/[/\\]/).at(-1).replace(/[^\p{L}\p{N}._-]+/gu, "_").slice(0, 80);
  return `${last || "video"}-picks.${ending}`;
}

/** Return the lines of Python for all rows. */
export function pythonText({ video, rows }) {
  return rows
    .map(({ letter, strategy, explanation }) => `# ${letter}\n${pythonLines(video, strategy, explanation.rows[0].frames)}`)
    .join("\n\n");
}

/** Return the colours of the light theme, by name. */
function lightInk() {
  const style = getComputedStyle(byId("light"));
  return (name) => style.getPropertyValue(`--${name}`).trim();
}

async function addImages(drawn, top, video, { letter, strategy, explanation }, images, ink) {
  const [{ name, frames: all }] = explanation.rows;
  const every = Math.ceil(all.length / MOST_IMAGES);
  const frames = all.filter((_, k) => k % every === 0);
  const urls = await images.all(video.id, [...new Set(frames)], IMAGE_HEIGHT);
  const lines = Math.ceil(frames.length / COLUMNS);
  const columns = Math.max(Math.ceil(frames.length / lines), LEAST_COLUMNS);
  const cell = (WIDTH - LEFT - RIGHT) / columns;
  const width = cell * 0.95;
  const height = Math.min((width * video.height) / video.width, 220);
  const colour = ink(`row-${letter}`);
  const note = every > 1 ? ` (one in ${every} is shown)` : "";
  drawn.append(heading(`${letter}  ${name}${note}`, top + 24, 15, colour));
  drawn.append(svg("text", { x: WIDTH - RIGHT, y: top + 24, "font-size": 12, fill: ink("soft"), "text-anchor": "end", text: settings(strategy) }));
  frames.forEach((frame, k) => {
    const x = LEFT + (k % columns) * cell;
    const y = top + 38 + Math.floor(k / columns) * (height + 24);
    const seconds = video.seconds ? `  (${video.seconds[frame - video.first_frame].toFixed(2)} s)` : "";
    drawn.append(
      svg("image", { href: urls.get(frame), x, y, width, height }),
      svg("text", { x: x + width / 2, y: y + height + 14, "font-size": 11, fill: colour, "text-anchor": "middle", text: `${frame}${seconds}` }),
    );
  });
  return top + 38 + lines * (height + 24) + 8;
}

function heading(title, y, size, fill, weight = 700) {
  // A long title gets a smaller font, so that all of it fits.
  const fitting = Math.min(size, (size * 1900) / (Math.max(title.length, 1) * size));
  const text = svg("text", { x: LEFT, y, "font-size": fitting, "font-weight": weight, fill });
  for (const { text: words, base, exponent } of pieces(title)) {
    if (base === undefined) text.append(words);
    else text.append(svg("tspan", { "font-style": "italic", text: base }), svg("tspan", { dy: -5, "font-size": "75%", text: exponent }), svg("tspan", { dy: 5, text: "\u200b" }));
  }
  return text;
}
