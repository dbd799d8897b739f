/**
 * Images of frames: asked of the server a moment after the last change, in small groups, and kept for later.
 *
 * Every part of the page that shows images is an owner. An owner names all images that it wants now. What it wanted
 * before and has not been asked of the server is forgotten.
 */

import * as api from "./api.js";

const MOST_KEPT = 3000;
const GROUP = 12;
const MOST_REQUESTS = 2;
const DELAY = 90;

export class Images {
  #kept = new Map();
  #failed = new Map();
  #loading = new Set();
  #owners = new Map();
  #requests = 0;
  #timer = 0;

  /** Return the data URL of an image, or undefined if it has not been loaded. */
  get(id, frame, height) {
    const key = keyOf(id, frame, height);
    const url = this.#kept.get(key);
    if (url !== undefined) {
      this.#kept.delete(key);
      this.#kept.set(key, url);
    }
    return url;
  }

  /** Return why an image could not be loaded, or undefined. */
  error(id, frame, height) {
    return this.#failed.get(keyOf(id, frame, height));
  }

  /**
   * Load the images that are missing, and call `arrived` after each group.
   * @param {object} owner Who wants them; replaces what it wanted before.
   * @param {number[]} frames Indices in the file.
   */
  want(owner, id, frames, height, arrived) {
    this.#owners.set(owner, { id, frames, height, arrived });
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#load(), DELAY);
  }

  /** Forget what an owner wants. */
  leave(owner) {
    this.#owners.delete(owner);
  }

  /** Load frames at once, and return their data URLs by index; for an export. */
  async all(id, frames, height) {
    const missing = frames.filter((frame) => this.get(id, frame, height) === undefined);
    for (let start = 0; start < missing.length; start += 64) {
      this.#keep(id, height, await api.frames(id, missing.slice(start, start + 64), height));
    }
    return new Map(frames.map((frame) => [frame, this.get(id, frame, height)]));
  }

  /** Ask again for images that could not be loaded. */
  retry() {
    this.#failed.clear();
    this.#load();
  }

  #load() {
    for (const [owner, wanted] of this.#owners) {
      while (this.#requests < MOST_REQUESTS) {
        const missing = this.#missing(wanted);
        if (missing.length === 0) break;
        this.#request(owner, wanted, missing);
      }
    }
  }

  #missing({ id, frames, height }) {
    const missing = [];
    for (const frame of new Set(frames)) {
      const key = keyOf(id, frame, height);
      if (!this.#kept.has(key) && !this.#failed.has(key) && !this.#loading.has(key)) missing.push(frame);
      if (missing.length === GROUP) break;
    }
    return missing;
  }

  async #request(owner, { id, height }, frames) {
    const keys = frames.map((frame) => keyOf(id, frame, height));
    keys.forEach((key) => this.#loading.add(key));
    this.#requests += 1;
    try {
      const images = await api.frames(id, frames, height);
      this.#keep(id, height, images);
      for (const key of keys) if (!this.#kept.has(key)) this.#failed.set(key, "The server has no image of this frame.");
    } catch (error) {
      keys.forEach((key) => this.#failed.set(key, error.message));
    }
    keys.forEach((key) => this.#loading.delete(key));
    this.#requests -= 1;
    for (const { arrived } of [...this.#owners.values()]) arrived();
    this.#load();
  }

  #keep(id, height, images) {
    for (const [frame, url] of Object.entries(images)) this.#kept.set(keyOf(id, Number(frame), height), url);
    for (const key of this.#kept.keys()) {
      if (this.#kept.size <= MOST_KEPT) break;
      this.#kept.delete(key);
    }
  }
}

function keyOf(id, frame, height) {
  return `${id} ${frame} ${height}`;
}
