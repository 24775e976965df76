// All steps of a run in a table.
import { h, fill, tell, restyle } from "./dom.js";
import { List } from "./list.js";
import { badge } from "./states.js";
import { count, seconds } from "./words.js";

const COLUMNS = [["name", "step", ""], ["type", "type", ""], ["state", "state", ""], ["took", "time", "num"], ["tries", "tries", "num"], ["remark", "", ""]];

export class Steps {
  /** `choose(index)` is called with a step that is opened. */
  constructor(plan, order, choose) {
    Object.assign(this, { plan, order, choose });
    this.text = "";
    this.only = null;
    this.state = null;
    this.sorted = null;
    this.chosen = [];
    this.list = new List({
      label: "Steps", height: 30, columns: 6, make: row,
      show: (element, i) => this.show(element, this.chosen[i]), open: (i) => choose(this.chosen[i]),
    });
    this.search = h("input", { type: "search", placeholder: "Step or type", "aria-label": "Find steps", oninput: () => { this.text = this.search.value.toLowerCase(); this.select(); } });
    this.clear = h("button", { type: "button", hidden: true, onclick: () => this.limit(null) });
    const heads = COLUMNS.map(([key, label, kind]) => h("span", { class: kind }, label && h("button", { type: "button", onclick: () => this.sort(key) }, label)));
    this.more = [this.clear, this.search];
    this.empty = h("p", { class: "empty", hidden: true }, "No step fits.");
    this.element = h("div", { class: "steps" }, h("div", { class: "head" }, heads), this.list.element, this.empty);
  }

  /** Only these steps, or those in a state; null: all. */
  limit(only, label) {
    this.only = only;
    this.clear.hidden = !only;
    tell(this.clear, `${label ?? ""} ✕`);
    this.clear.setAttribute("aria-label", `Show all steps again, not only ${label}`);
    this.select();
  }

  /** The run's state has moved. */
  take(states, told, attention) {
    Object.assign(this, { states, told, attention });
    this.select();
  }

  sort(key) {
    this.sorted = this.sorted?.[0] === key && this.sorted[1] ? null : [key, this.sorted?.[0] === key];
    this.select();
  }

  select() {
    if (!this.states) return;
    const { steps, types } = this.plan;
    const from = this.only?.members ?? steps.keys();
    this.chosen = [];
    for (const i of from) {
      if (this.only?.state && this.states[i] !== this.only.state) continue;
      if (this.text && !`${steps[i]} ${types[i]}`.toLowerCase().includes(this.text)) continue;
      this.chosen.push(i);
    }
    if (this.sorted) this.reorder(...this.sorted);
    this.empty.hidden = this.chosen.length > 0;
    this.list.element.hidden = !this.chosen.length;
    this.list.resize(this.chosen.length);
  }

  reorder(key, back) {
    const of = {
      name: (i) => this.plan.steps[i], type: (i) => this.plan.types[i], state: (i) => this.order.indexOf(this.states[i]),
      took: (i) => -this.told.seconds[i], tries: (i) => -(this.told.attempts[i] ?? 1),
    }[key];
    this.chosen.sort((a, b) => ((of(a) < of(b) ? -1 : of(a) > of(b) ? 1 : a - b) * (back ? -1 : 1)));
  }

  show(element, i) {
    const [name, type, state, took, tries, remark] = element.children;
    const told = this.attention.get(i);
    tell(name, this.plan.steps[i]);
    tell(type, this.plan.types[i]);
    fill(state, badge(this.states[i]));
    tell(took, this.states[i] === "pending" && !this.told.seconds[i] ? "" : seconds(this.told.seconds[i]));
    tell(tries, this.told.attempts[i] ?? "");
    tell(remark, told ? remarkOf(told) : "");
    remark.title = told?.error ?? "";
    remark.classList.toggle("bad", Boolean(told?.error));
  }
}

function remarkOf(told) {
  const parts = [];
  if (told.done !== undefined) parts.push(told.total ? `${count(told.done)}/${count(told.total)}` : count(told.done));
  if (told.message) parts.push(told.message);
  if (told.waits_for) parts.push(`waits for ${told.waits_for}`);
  if (told.error) parts.push(told.error);
  return parts.join(", ");
}

function row() {
  const element = h("div", {}, h("span", { class: "cut name" }), h("span", { class: "cut soft c-type" }), h("span", { class: "cut" }), h("span", { class: "num" }), h("span", { class: "num soft c-tries" }), h("span", { class: "cut soft c-remark" }));
  restyle(element, {});
  return element;
}
