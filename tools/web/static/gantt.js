// Attempts over time: a line for each step that has started, a bar for each attempt.
import { h, fill, tell, restyle } from "./dom.js";
import { List } from "./list.js";
import { fails, tone, word } from "./states.js";
import { seconds, ticks } from "./words.js";

const [PLACE, STEP, ATTEMPT, FROM, UNTIL, OUTCOME, WORKER, KIND, ERROR, GRANTS] = Array(10).keys();

export class Gantt {
  /** `seek(at)` is called with the time (ms) that is clicked, `choose(step)` with a step. */
  constructor(names, { seek, choose }) {
    Object.assign(this, { names, seek, choose });
    this.bars = [];
    this.lines = [];
    this.byStep = new Map();
    this.span = [0, 1];
    this.at = null;
    this.list = new List({
      label: "Attempts over time", height: 24, columns: 3, make: () => this.row(),
      show: (row, i) => this.show(row, this.lines[i]),
      open: (i, event) => this.open(i, event),
    });
    this.ticks = h("div", { class: "ticks" });
    this.empty = h("p", { class: "empty" }, "No step has started.");
    this.element = h("div", { class: "gantt" }, h("div", { class: "axis", "aria-hidden": "true" }, h("span"), this.ticks, h("span")), this.list.element, this.empty);
    new ResizeObserver(() => this.axis()).observe(this.element);
  }

  /** Bars that have begun or ended since. */
  take(bars) {
    for (const bar of bars) {
      this.bars[bar[PLACE]] = bar;
      if (!this.byStep.has(bar[STEP])) this.byStep.set(bar[STEP], []);
      const mine = this.byStep.get(bar[STEP]);
      const known = mine.findIndex((one) => one[PLACE] === bar[PLACE]);
      if (known < 0) mine.push(bar);
      else mine[known] = bar;
    }
  }

  /** Show what there was at a time (ms), of a run that lasted from `first` to `last`. */
  draw(first, last, at) {
    this.span = [first, Math.max(last, first + 1)];
    const moved = this.at !== null && this.at !== at && at < last;
    this.at = at;
    const begun = (bar) => bar[FROM] <= at;
    this.lines = [];
    for (const [step, bars] of this.byStep) if (begun(bars[0])) this.lines.push(step);
    this.lines.sort((a, b) => this.byStep.get(a)[0][PLACE] - this.byStep.get(b)[0][PLACE]);
    this.empty.hidden = this.lines.length > 0;
    this.list.element.hidden = !this.lines.length;
    this.list.element.style.height = `${Math.min(this.lines.length * 24, 24 * 24)}px`;
    this.list.resize(this.lines.length);
    if (moved) this.list.reveal(this.lines.length - 1); // what began last, by then
    this.axis();
  }

  axis() {
    const wide = this.ticks.clientWidth;
    if (!wide) return;
    const span = (this.span[1] - this.span[0]) / 1000;
    fill(this.ticks, ticks(span, Math.max(2, Math.floor(wide / 76))).filter(([at]) => at / span < 0.97).map(([at, label]) => {
      const tick = h("span", {}, label);
      restyle(tick, { left: `${(100 * at) / span}%` });
      return tick;
    }));
  }

  row() {
    return h("div", {}, h("span", { class: "cut name" }), h("div", { class: "track" }), h("span", { class: "num soft cut" }));
  }

  show(row, step) {
    const [name, track, took] = row.children;
    const bars = this.byStep.get(step).filter((bar) => bar[FROM] <= this.at);
    const place = (at) => (100 * (at - this.span[0])) / (this.span[1] - this.span[0]);
    let spent = 0;
    const parts = bars.map((bar) => {
      const [until, outcome] = ended(bar, this.at);
      spent += until - bar[FROM];
      const part = h("i", { class: `${fails(outcome) ? "fails" : ""} ${bar[KIND]}`, title: told(bar, outcome, until) });
      restyle(part, { ...tone(outcome), left: `${place(bar[FROM])}%`, width: `${place(until) - place(bar[FROM])}%` });
      return part;
    });
    for (let i = 1; i < bars.length; i++) {
      const wait = h("u");
      restyle(wait, { left: `${place(bars[i - 1][UNTIL])}%`, width: `${place(bars[i][FROM]) - place(bars[i - 1][UNTIL])}%` });
      parts.unshift(wait);
    }
    const now = h("b");
    restyle(now, { left: `${Math.min(100, place(this.at))}%` });
    fill(track, parts, this.at < this.span[1] ? now : null);
    tell(name, this.names[step]);
    tell(took, seconds(spent / 1000));
    const last = bars.at(-1);
    const attempts = bars.length > 1 ? `, ${bars.length} attempts` : "";
    row.setAttribute("aria-label", `${this.names[step]}: ${seconds(spent / 1000)}${attempts}, ${word(ended(last, this.at)[1])}`);
  }

  open(i, event) {
    const track = event.target?.closest?.(".track");
    if (!track) return this.choose(this.lines[i]);
    const box = track.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    this.seek(this.span[0] + share * (this.span[1] - this.span[0]));
  }

  /** What the attempts that run at a time hold of each resource. */
  held(at) {
    const sum = {};
    for (const bar of this.bars) {
      if (!bar?.[GRANTS] || bar[FROM] > at || (bar[UNTIL] && bar[UNTIL] <= at)) continue;
      for (const [name, amount] of Object.entries(bar[GRANTS])) sum[name] = (sum[name] ?? 0) + amount;
    }
    return sum;
  }

  attempts(step) {
    return (this.byStep.get(step) ?? []).filter((bar) => bar[FROM] <= this.at).map((bar) => {
      const [until, outcome] = ended(bar, this.at);
      return { attempt: bar[ATTEMPT], worker: bar[WORKER], from: bar[FROM], seconds: (until - bar[FROM]) / 1000, outcome, error: outcome === bar[OUTCOME] ? bar[ERROR] : null, kind: bar[KIND] };
    });
  }
}

/** Until when an attempt went on by then, and how it had ended. */
function ended(bar, at) {
  return bar[UNTIL] && bar[UNTIL] <= at ? [bar[UNTIL], bar[OUTCOME]] : [at, "running"];
}

function told(bar, outcome, until) {
  const kind = bar[KIND] === "undoes" ? " undoes" : bar[KIND] ? `, ${bar[KIND]}` : "";
  const error = bar[ERROR] && outcome === bar[OUTCOME] ? `\n${bar[ERROR]}` : "";
  return `attempt ${bar[ATTEMPT]}${kind}: ${word(outcome)} after ${seconds((until - bar[FROM]) / 1000)}, ${bar[WORKER]}${error}`;
}
