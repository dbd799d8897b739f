/** Shortcuts of single keys, which work wherever the user does not write. */

const KEYS = { "/": "search", "?": "help", c: "compare", "[": "fewer", "]": "more", d: "theme", j: "next", k: "previous" };

/**
 * Call the action of a key.
 * @param {Object<string, () => void>} actions By the names in KEYS.
 */
export function listenForShortcuts(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target.closest("dialog, select, textarea, input:not([type=range], [type=checkbox])")) return;
    const name = KEYS[event.key];
    if (!name) return;
    event.preventDefault();
    actions[name]();
  });
}
