/** Making elements of HTML and SVG. Text is only ever set as text, so that a file's name cannot become markup. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an HTML element.
 * @param {string} tag Name of the element.
 * @param {object} [properties] Attributes by name; `class`, `text` (its text) and `on` (listeners by event).
 * @param {...(Node|string|null)} children What it contains; null is left out.
 * @returns {HTMLElement}
 */
export function element(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/**
 * Make an SVG element; the arguments are those of `element`.
 * @returns {SVGElement}
 */
export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

/** Return the element with this id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Set the text of a node, if it is not that text already: readers announce only what changes. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Return the folders of a video's name, with the last slash, and the rest. A file of a tar file follows `::`. */
export function splitName(name) {
  const [, folders, file] = /^(.*(?:[/\\]|::))?(.*)$/s.exec(name);
  return file === "" ? ["", name] : [folders ?? "", file];
}

/** Return a function that calls `action` once it has not been called for `delay` milliseconds. */
export function debounced(action, delay) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...values), delay);
  };
}

function fill(node, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name === "text") node.textContent = value;
    else if (name === "on") for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}
