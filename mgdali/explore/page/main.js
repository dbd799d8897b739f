/** Connects the parts of the page: list, controls, panels, dialogs and shortcuts. */

import * as api from "./api.js";
import { Controls } from "./controls.js";
import { byId, debounced, element, setText } from "./dom.js";
import { fileName, picture, png, pythonText, save, svgText } from "./export.js";
import { Images } from "./images.js";
import { VideoList } from "./list.js";
import { Panel } from "./panel.js";
import { listenForShortcuts } from "./shortcuts.js";
import { Store } from "./state.js";
import { startTheme, toggleTheme } from "./theme.js";

const store = new Store();
const images = new Images();
const panels = [];
const silence = debounced(() => setText(byId("status"), ""), 6000);

startTheme();
const list = new VideoList(store, failed);
const controls = new Controls(store);
connectFilters();
connectButtons();
listenForShortcuts({
  search: () => openList() || byId("search").focus(),
  help: () => byId("help").showModal(),
  compare,
  fewer: () => controls.stepFrames(-1),
  more: () => controls.stepFrames(1),
  theme: toggleTheme,
  next: () => list.step(1),
  previous: () => list.step(-1),
});
store.subscribe(showPanels);
list.onRows = () => {
  chooseFirst();
  showPanels(store.state);
};
list.onChosen = closeList;
store.refresh();
start();

async function start() {
  try {
    const { title, classes, version } = await api.collection();
    setText(byId("collection"), title);
    document.title = `${title} – mgdali explore`;
    setText(byId("version"), `mgdali ${version}`);
    byId("class").append(...classes.map((name) => element("option", { value: name, text: name })));
    byId("class").value = store.state.list.className;
    byId("class-filter").hidden = classes.length < 2;
    byId("server-problem").hidden = true;
  } catch (error) {
    failed(error);
  }
}

/** If the address names no video, show the first one of the list. */
function chooseFirst() {
  const first = list.row(0);
  if (store.state.videos.length === 0 && first) store.set({ videos: [first.id] });
}

function showPanels(state) {
  const count = Math.max(state.videos.length, 1);
  while (panels.length > count) panels.pop().close();
  while (panels.length < count) panels.push(newPanel(panels.length));
  byId("panels").classList.toggle("two", count > 1);
  byId("compare").setAttribute("aria-pressed", count > 1);
  byId("settings").hidden = byId("panels").hidden = state.videos.length === 0;
  if (state.videos.length > 0) panels.forEach((panel, place) => panel.show(state, place));
}

function newPanel(place) {
  const activate = () => {
    if (store.state.videos.length > 1 && store.state.active !== place) store.set({ active: place });
  };
  const panel = new Panel({
    store,
    images,
    nameOf: (id) => list.nameOf(id),
    failed,
    known: () => list.update(),
    activate,
    exported,
  });
  byId("panels").append(panel.element);
  return panel;
}

/** Begin to compare with a second video, which the user then chooses; or end it. */
function compare() {
  const { videos, active } = store.state;
  if (videos.length === 0) return;
  if (videos.length === 2) store.set({ videos: [videos[active] ?? videos[0]], active: 0 }, true);
  else {
    store.set({ videos: [videos[0], null], active: 1 }, true);
    say("Choose a second video in the list.");
  }
}

async function exported(kind, panel) {
  const { content } = panel;
  if (!content) return;
  if (kind === "python") {
    byId("python-lines").textContent = pythonText(content);
    byId("python").showModal();
    return;
  }
  try {
    say("Making the picture …");
    const drawn = await picture(content, images);
    if (kind === "svg") save(svgText(drawn), "image/svg+xml", fileName(content.video, "svg"));
    else save(await png(drawn), "image/png", fileName(content.video, "png"));
    say("The picture is saved.");
  } catch (error) {
    say(`The picture could not be made: ${error.message}`);
    if (error instanceof api.Unreachable) failed(error);
  }
}

function connectFilters() {
  const set = (change) => store.set({ list: { ...store.state.list, ...change } });
  const search = debounced(() => set({ search: byId("search").value }), 150);
  byId("search").addEventListener("input", search);
  byId("search").addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "Enter") {
      event.preventDefault();
      byId("list").focus();
    }
  });
  byId("class").addEventListener("change", () => set({ className: byId("class").value }));
  byId("sort").addEventListener("change", () => set({ sort: byId("sort").value }));
  byId("direction").addEventListener("click", () => set({ descending: !store.state.list.descending }));
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  store.subscribe(({ list: { search: text, className, sort, descending } }) => {
    if (document.activeElement !== byId("search")) byId("search").value = text;
    byId("class").value = className;
    byId("sort").value = sort;
    byId("direction").setAttribute("aria-pressed", descending);
    setText(byId("direction"), descending ? "↓" : "↑");
    byId("direction").title = descending ? "Descending: change to ascending" : "Ascending: change to descending";
  });
}

function connectButtons() {
  byId("compare").addEventListener("click", compare);
  byId("theme").addEventListener("click", toggleTheme);
  byId("show-help").addEventListener("click", () => byId("help").showModal());
  byId("show-list").addEventListener("click", () => (document.body.classList.contains("list-open") ? closeList() : openList()));
  byId("shade").addEventListener("click", closeList);
  byId("retry").addEventListener("click", retry);
  byId("copy").addEventListener("click", copy);
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  }
}

function openList() {
  document.body.classList.add("list-open");
  byId("show-list").setAttribute("aria-expanded", true);
}

function closeList() {
  document.body.classList.remove("list-open");
  byId("show-list").setAttribute("aria-expanded", false);
}

/** Copy the lines of Python; without access to the clipboard, select them for the user to copy. */
async function copy() {
  const lines = byId("python-lines");
  try {
    await navigator.clipboard.writeText(lines.textContent);
    say("Copied.");
  } catch {
    getSelection().selectAllChildren(lines);
    say(document.execCommand("copy") ? "Copied." : "Selected: copy the lines with Ctrl-C.");
  }
  setText(byId("copy-status"), byId("status").textContent);
}

function failed(error) {
  if (error instanceof api.Unreachable) {
    byId("server-problem").hidden = false;
    setText(byId("server-message"), error.message);
  } else {
    say(error.message);
  }
}

async function retry() {
  await start();
  if (!byId("server-problem").hidden) return;
  panels.forEach((panel) => panel.retry());
  images.retry();
  await list.reload();
  store.refresh();
}

/** Show a message for a moment. */
function say(text) {
  setText(byId("status"), text);
  silence();
}
