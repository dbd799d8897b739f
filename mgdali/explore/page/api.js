/** Requests to the server. All addresses are relative to the page's own, which contains the token. */

/** The server answered with an error: its text is for the user. */
export class RequestError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** The server does not answer, or no longer knows this page's address. */
export class Unreachable extends Error {}

const MOST_OFFSETS = 200;
const offsetsByDraw = new Map();

/** Return the title, size and classes of the collection. */
export const collection = () => get("collection");

/** Return one page of the list: `{total, first, complete, rows}`. */
export const videos = (list, first, count, signal) => get("videos", { ...parameters(list), first, count }, signal);

/** Return the position of a video in the list; null if the list does not contain it. */
export const place = async (id, list, signal) => (await get(`videos/${id}/place`, parameters(list), signal)).place;

/**
 * Return the motion of a video. Waits until the server has measured it.
 * @param {number} id The video.
 * @param {"image"|"feature"} level How motion is measured.
 * @param {AbortSignal} signal Ends the waiting.
 * @param {(frames: number) => void} progress Is called with the number of frames measured so far.
 */
export async function video(id, level, signal, progress) {
  for (;;) {
    const answer = await get(`videos/${id}`, { level }, signal);
    if (!answer.measuring) return { ...answer, motion: Float64Array.from(answer.motion) };
    progress(answer.measuring.frames);
    await pause(150, signal);
  }
}

/** Return pictures of frames as data URLs, by the frame's index in the file. */
export async function frames(id, at, height) {
  return (await get(`videos/${id}/frames`, { at: at.join(","), height })).frames;
}

/** Return the random offsets of a training draw, numbers in [0, 1). */
export async function offsets(numFrames, seed) {
  const key = `${numFrames} ${seed}`;
  if (!offsetsByDraw.has(key)) {
    if (offsetsByDraw.size >= MOST_OFFSETS) offsetsByDraw.clear();
    offsetsByDraw.set(key, (await get("offsets", { num_frames: numFrames, seed })).offsets);
  }
  return offsetsByDraw.get(key);
}

/** Return the offsets if they are known already, otherwise undefined. */
export const knownOffsets = (numFrames, seed) => offsetsByDraw.get(`${numFrames} ${seed}`);

/** Return what mgdali itself picks and draws for a strategy: the JSON form of its `Explanation`. */
export const explanation = (id, query, signal) =>
  get(`videos/${id}/explanation`, Object.fromEntries(query), signal);

function parameters({ search, className, sort, descending }) {
  return { search, class: className, sort, descending: descending ? 1 : 0 };
}

async function get(path, query = {}, signal = undefined) {
  const url = new URL(`api/${path}`, document.baseURI);
  url.hash = "";
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, value);
  }
  let answer;
  try {
    answer = await fetch(url, { signal, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unreachable("The server does not answer. Is “mgdali explore” still running?");
  }
  const isJson = (answer.headers.get("content-type") ?? "").includes("json");
  if (!isJson && answer.status === 404) {
    throw new Unreachable("This address is no longer valid. Open the one that “mgdali explore” has printed.");
  }
  const content = isJson ? await answer.json() : {};
  if (!answer.ok) throw new RequestError(content.error ?? `The server answered ${answer.status}.`, answer.status);
  return content;
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("left", "AbortError"));
    });
  });
}
