// Two runs, or two moments of one, side by side.
import { ask } from "./api.js";
import { h, fill, tell, restyle } from "./dom.js";
import { Graph } from "./graph.js";
import { List } from "./list.js";
import { address } from "./runs.js";
import { badge, fillBar, runWord, tone } from "./states.js";
import { count, moment, seconds } from "./words.js";

export class Compare {
  title = "compare";

  constructor(root, about, ids, given) {
    Object.assign(this, { root, about, ids });
    this.versions = [Number(given.get("va")) || null, Number(given.get("vb")) || null];
    this.begin();
  }

  async begin() {
    const { ids, versions } = this;
    fill(this.root, h("p", { class: "empty" }, "Comparing…"));
    try {
      const asked = [0, 1].flatMap((i) => [ask("graph", { run: ids[i] }), ask("state", { run: ids[i], version: versions[i] })]);
      const found = ask("compare", { a: ids[0], b: ids[1], va: versions[0], vb: versions[1] });
      const told = await Promise.all([found, ...asked]);
      if (!this.closed) this.build(...told);
    } catch (error) {
      fill(this.root, h("p", { class: "empty" }, error.message));
    }
  }

  close() {
    this.closed = true;
    this.root.replaceChildren();
  }

  build(found, planA, stateA, planB, stateB) {
    this.sides = [[planA, stateA], [planB, stateB]].map(([plan, state]) => this.side(plan, state));
    const phone = matchMedia("(max-width: 820px)");
    this.rows = found.steps;
    this.first = found.first;
    this.list = new List({ label: "Steps of both", height: () => (phone.matches ? 50 : 32), columns: 5, make: row, show: (element, i) => this.show(element, this.rows[i]) });
    const differing = found.steps.filter((one) => one.changes.length);
    const only = h("input", { type: "checkbox", onchange: () => { this.rows = only.checked ? differing : found.steps; this.list.resize(this.rows.length); } });
    const verdict = h("div", { class: "notice" }, found.same ? "They came to the same." : found.first ? h("span", {}, "They first differ at ", h("strong", { class: "name" }, found.first), `; in all, ${differing.length === 1 ? "1 step differs" : `${count(differing.length)} steps differ`}.`) : "They differ as runs.", found.run.map((change) => h("span", { class: "soft" }, change)));
    restyle(verdict, tone(found.same ? "completed" : "retrying"));
    fill(this.root, h("h1", {}, stateA.id === stateB.id ? `Two moments of ${stateA.name}` : stateA.name === stateB.name ? `Two runs of ${stateA.name}` : `${stateA.name} and ${stateB.name}`), verdict,
      h("div", { class: "sides" }, this.sides.map((side) => side.element)),
      h("section", { class: "panel compare" },
        h("header", {}, h("h2", {}, "steps"), h("span", { class: "spring" }), h("label", { class: "check soft" }, only, " only what differs")),
        h("div", { class: "head" }, ["step", "a", "b", "b : a", "what differs"].map((one, i) => h("span", { class: i === 3 ? "num" : "" }, one))), this.list.element));
    this.list.resize(this.rows.length);
  }

  side(plan, state) {
    const states = Array.from(state.states, (letter) => this.about.states[letter.charCodeAt(0) - 97]);
    const graph = new Graph(plan, { label: `Graph of ${state.name}`, small: true });
    graph.show(states, (i) => state.seconds[i]);
    const bar = fillBar(h("div", { class: "bar tall" }), state.counts);
    const element = h("section", { class: "panel" },
      h("header", {}, badge(state.status, { solid: true, text: runWord(state.status) }), h("a", { class: "mono cut", href: address(state.id, state.live ? null : state.version) }, state.id)),
      h("div", { class: "body column" }, h("p", { class: "soft" }, `event ${count(state.version)}, ${moment(state.at)}, ${seconds(state.progress.elapsed)}`), bar, state.error ? h("p", { class: "bad" }, state.error) : null), graph.element);
    return { element, states: new Map(plan.steps.map((name, i) => [name, states[i]])) };
  }

  show(element, told) {
    const [name, a, b, ratio, change] = element.children;
    element.classList.toggle("first", told.step === this.first);
    tell(name, told.step);
    [a, b].forEach((cell, i) => {
      const state = this.sides[i].states.get(told.step);
      fill(cell, state ? badge(state) : h("span", { class: "soft" }, "not there"), h("span", {}, told.seconds[i] ? seconds(told.seconds[i]) : ""));
    });
    const [x, y] = told.seconds;
    tell(ratio, x && y ? `× ${(y / x).toFixed(2)}` : "");
    tell(change, told.changes.join("; "));
    change.title = told.changes.join("\n");
  }
}

function row() {
  return h("div", {}, h("span", { class: "cut name" }), h("span", { class: "pair" }), h("span", { class: "pair" }), h("span", { class: "num soft c-delta" }), h("span", { class: "cut soft c-change" }));
}
