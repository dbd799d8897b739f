/** The rows of picks as tabs, and the controls of the selected one. */

import { byId, element, setText } from "./dom.js";
import { LETTERS } from "./state.js";
import { PARAMETERS, STRATEGIES, makeStrategy, problemOf, strategyOf } from "./strategies.js";
import { VALUES, WORDS, settings } from "./words.js";

// Sliders: their largest value and step.
const SLIDERS = { mu: [2, 0.01], even: [1, 0.01] };

export class Controls {
  #store;
  #tabs = byId("tabs");
  #form = byId("controls");
  #fields = new Map();
  #strategy = null;
  #dragged = null;

  /** @param {Store} store */
  constructor(store) {
    this.#store = store;
    this.#strategy = element("select", { id: "strategy" }, ...STRATEGIES.map(({ id, label }) => element("option", { value: id, text: label })));
    this.#strategy.addEventListener("change", () => this.#switch(this.#strategy.value));
    this.#form.append(field("Strategy", "strategy", this.#strategy));
    for (const name of Object.keys(PARAMETERS)) {
      this.#fields.set(name, this.#make(name));
      this.#form.append(this.#fields.get(name).element);
    }
    this.problem = element("p", { class: "problem", role: "alert", hidden: true });
    this.#form.append(this.problem);
    this.#form.addEventListener("submit", (event) => event.preventDefault());
    byId("add-row").addEventListener("click", () => this.#add());
    this.#tabs.addEventListener("keydown", (event) => this.#key(event));
    store.subscribe((state) => this.show(state));
  }

  /** Show the rows of a state, and the controls of the selected one. */
  show(state) {
    this.#showTabs(state);
    const { strategy, letter } = state.rows[state.selected];
    this.#form.dataset.letter = letter;
    this.#strategy.value = strategy.strategy;
    const { parameters } = strategyOf(strategy.strategy);
    for (const [name, { element: node, show }] of this.#fields) {
      node.hidden = !parameters.includes(name);
      show(strategy[name], state);
    }
    byId("add-row").disabled = state.rows.length === LETTERS.length;
  }

  /** Change the number of frames of the selected row by a step. */
  stepFrames(step) {
    const { rows, selected } = this.#store.state;
    const { least, most } = PARAMETERS.numFrames;
    const numFrames = Math.min(Math.max(rows[selected].strategy.numFrames + step, least), most);
    this.#store.setStrategy(selected, { numFrames });
  }

  #showTabs({ rows, selected }) {
    while (this.#tabs.children.length > rows.length) this.#tabs.lastChild.remove();
    while (this.#tabs.children.length < rows.length) this.#tabs.append(this.#newTab());
    rows.forEach(({ letter, strategy }, k) => {
      const [tab, remove] = this.#tabs.children[k].children;
      const { label } = strategyOf(strategy.strategy);
      this.#tabs.children[k].dataset.letter = letter;
      this.#tabs.children[k].classList.toggle("selected", k === selected);
      tab.setAttribute("aria-pressed", k === selected);
      tab.tabIndex = k === selected ? 0 : -1;
      setText(tab.children[0], letter);
      setText(tab.children[1], label);
      setText(tab.children[2], settings(strategy));
      remove.hidden = rows.length === 1;
      remove.setAttribute("aria-label", `Remove row ${letter}: ${label}`);
    });
  }

  #newTab() {
    const place = () => [...this.#tabs.children].indexOf(item);
    const item = element(
      "div",
      { class: "tab" },
      element(
        "button",
        { type: "button", class: "tab-name", on: { click: () => this.#store.set({ selected: place() }) } },
        element("span", { class: "letter" }),
        element("span", { class: "tab-label" }),
        element("span", { class: "tab-facts" }),
      ),
      element("button", { type: "button", class: "remove", text: "×", title: "Remove this row", on: { click: () => this.#remove(place()) } }),
    );
    return item;
  }

  #key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !event.target.matches(".tab-name")) return;
    event.preventDefault();
    const { rows, selected } = this.#store.state;
    const next = Math.min(Math.max(selected + step, 0), rows.length - 1);
    this.#store.set({ selected: next });
    this.#tabs.children[next].firstChild.focus();
  }

  #add() {
    const { rows, selected } = this.#store.state;
    const letter = LETTERS.find((each) => !rows.some((row) => row.letter === each));
    if (!letter) return;
    const unused = STRATEGIES.find(({ id }) => !rows.some(({ strategy }) => strategy.strategy === id));
    const { numFrames } = rows[selected].strategy;
    const strategy = makeStrategy((unused ?? STRATEGIES[0]).id, { numFrames });
    this.#store.set({ rows: [...rows, { letter, strategy }], selected: rows.length }, true);
  }

  #remove(place) {
    const { rows, selected } = this.#store.state;
    const kept = rows.filter((_, k) => k !== place);
    this.#store.set({ rows: kept, selected: Math.min(selected - (place < selected ? 1 : 0), kept.length - 1) }, true);
    this.#tabs.children[this.#store.state.selected].firstChild.focus();
  }

  /** Change the strategy. What both have in common stays; its other parameters get their usual values. */
  #switch(id) {
    const { rows, selected } = this.#store.state;
    const { strategy } = rows[selected];
    const common = strategyOf(id).parameters.filter((name) => name !== "stride" && strategyOf(strategy.strategy).parameters.includes(name));
    const changed = makeStrategy(id, Object.fromEntries(common.map((name) => [name, strategy[name]])));
    this.#store.set({ rows: rows.map((row, k) => (k === selected ? { ...row, strategy: changed } : row)) }, true);
  }

  #set(name, value, step = false) {
    const problem = problemOf(name, value);
    setText(this.problem, problem ?? "");
    this.problem.hidden = problem === null;
    if (problem === null) this.#store.setStrategy(this.#store.state.selected, { [name]: value }, step);
  }

  /** Change a value while the user drags. The picks follow in the next picture of the screen. */
  #drag(name, value) {
    const start = performance.now();
    const waiting = this.#dragged !== null;
    this.#dragged = { name, value, start: this.#dragged?.start ?? start };
    if (waiting) return;
    requestAnimationFrame(() => {
      const begun = performance.now();
      const dragged = this.#dragged;
      this.#dragged = null;
      this.#set(dragged.name, dragged.value);
      performance.measure("mgdali:picks", { start: begun });
      performance.measure("mgdali:drag", { start: dragged.start });
    });
  }

  #make(name) {
    if (name === "seed") return this.#makeOffsets();
    if (name === "numFrames") return this.#makeFrames();
    if (PARAMETERS[name].kind === "choice") return this.#makeChoice(name);
    return this.#makeNumber(name);
  }

  #makeChoice(name) {
    const options = PARAMETERS[name].choices.map((value) => element("option", { value, text: VALUES[value] }));
    const select = element("select", { id: name }, ...options);
    select.addEventListener("change", () => this.#set(name, select.value, true));
    const show = (value) => {
      select.value = value;
    };
    return { element: field(WORDS[name].label, name, select, WORDS[name].hint), show };
  }

  #makeNumber(name) {
    const [most, step] = SLIDERS[name] ?? [];
    const slider = most ? element("input", { type: "range", min: 0, max: most, step, "aria-label": `${WORDS[name].label}, slider` }) : null;
    const { least } = PARAMETERS[name];
    const bound = Number.isFinite(PARAMETERS[name].most) ? PARAMETERS[name].most : null;
    const number = element("input", { type: "number", id: name, min: least, max: bound, step: step ?? 1 });
    slider?.addEventListener("input", () => this.#drag(name, Number(slider.value)));
    number.addEventListener("input", () => number.value !== "" && this.#drag(name, number.valueAsNumber));
    number.addEventListener("change", () => this.#set(name, number.valueAsNumber));
    const show = (value) => {
      if (slider && Number(slider.value) !== value) slider.value = value;
      if (document.activeElement !== number || number.valueAsNumber !== value) number.value = value;
    };
    return { element: field(WORDS[name].label, name, slider, number, WORDS[name].hint), show };
  }

  #makeFrames() {
    const made = this.#makeNumber("numFrames");
    const together = element("input", { type: "checkbox", id: "together" });
    together.addEventListener("change", () => this.#store.set({ together: together.checked }));
    const label = element("label", { class: "check", title: "Change the number of frames of all rows at once" }, together, "in all rows");
    made.element.append(label);
    const show = (value, state) => {
      made.show(value);
      together.checked = state.together;
      label.hidden = state.rows.length === 1;
    };
    return { element: made.element, show };
  }

  #makeOffsets() {
    const test = element("option", { value: "test", text: "test (middles)" });
    const train = element("option", { value: "train", text: "training draw" });
    const select = element("select", { id: "seed" }, test, train);
    const number = element("input", { type: "number", min: 0, step: 1, "aria-label": "Seed of the draw" });
    const next = element("button", { type: "button", id: "next-draw", text: "Next draw" });
    select.addEventListener("change", () => this.#set("seed", select.value === "test" ? null : 0, true));
    number.addEventListener("change", () => this.#set("seed", number.valueAsNumber));
    next.addEventListener("click", () => this.#set("seed", number.valueAsNumber + 1));
    const show = (value) => {
      select.value = value === null ? "test" : "train";
      for (const part of [number, next]) part.hidden = value === null;
      number.value = value ?? 0;
    };
    return { element: field(WORDS.seed.label, "seed", select, number, next, WORDS.seed.hint), show };
  }
}

/** Return a labelled control; its last argument is a hint if it is a text. */
function field(label, id, ...parts) {
  const hint = typeof parts.at(-1) === "string" ? parts.pop() : null;
  return element("div", { class: "control", title: hint }, element("label", { for: id, text: label }), element("div", { class: "inputs" }, ...parts));
}
