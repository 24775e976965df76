// A run: its head, graph, attempts, steps, events and figures, all at one moment.
import { ask, latest } from "./api.js";
import { buttons } from "./actions.js";
import { h, fill, tell, restyle, announce, alertUser } from "./dom.js";
import { Events } from "./events.js";
import { figures, resources } from "./figures.js";
import { Gantt } from "./gantt.js";
import { Graph, boxCount } from "./graph.js";
import { Log } from "./log.js";
import { address } from "./runs.js";
import { Side } from "./side.js";
import { ORDER, SIGNS, badge, fillBar, runWord, tone, word } from "./states.js";
import { Steps } from "./steps.js";
import { Tabs } from "./tabs.js";
import { Time } from "./time.js";
import { count, moment, seconds } from "./words.js";

const LARGE = 2000; // steps from which on a look is not cheap: at most one a second

export class Run {
  title = "run";

  constructor(root, about, id, given) {
    Object.assign(this, { root, about, id });
    this.version = Number(given.get("at")) || null;
    this.timelined = 0;
    this.refresh = latest(() => this.fetch());
    this.begin();
  }

  /** The address may come to name another moment of the same run. */
  stays(kind, ids, given) {
    if (kind !== "run" || ids[0] !== this.id || !this.time) return false;
    const version = Number(given.get("at")) || null;
    if (version !== this.version) this.time.go(version);
    return true;
  }

  async begin() {
    fill(this.root, h("p", { class: "empty" }, "Reading the run…"));
    try {
      [this.plan, this.state] = await Promise.all([ask("graph", { run: this.id }), ask("state", { run: this.id, version: this.version })]);
    } catch (error) {
      return fill(this.root, h("p", { class: "empty" }, error.message), h("p", { class: "empty" }, h("a", { href: "#/" }, "All runs")));
    }
    if (this.closed) return;
    this.build();
    this.show();
    this.refresh();
    this.ticker = setInterval(() => this.tick(), 1000);
  }

  close() {
    this.closed = true;
    clearInterval(this.ticker);
    this.time?.pause();
    this.root.replaceChildren();
  }

  build() {
    const { plan } = this;
    this.title = this.state.name;
    document.title = `${this.state.name} · semantica pipeline`;
    const choose = (index) => this.choose(index);
    this.graph = new Graph(plan, { label: `Graph of ${this.state.name}`, choose: (members, label) => (members.length > 1 ? this.group(members, label) : choose(members[0])) });
    this.gantt = new Gantt(plan.steps, { choose, seek: async (at) => this.time.go((await ask("moment", { run: this.id, at: Math.round(at) })).version) });
    this.steps = new Steps(plan, [...ORDER].reverse(), choose);
    this.events = new Events(this.id, { open: (event) => { this.side.event(event, (version) => this.time.go(version)); this.layout(); } });
    this.log = new Log(this.id, plan, choose);
    this.figures = h("div", { class: "cards" });
    this.side = new Side(() => { this.chosen = null; this.graph.mark(null); this.layout(); });
    this.time = new Time((version) => this.seek(version));
    this.head = head();
    this.notices = h("div", { class: "column" });
    const zoom = (label, sign, factor) => h("button", { class: "quiet", type: "button", "aria-label": label, title: label, onclick: () => this.graph.zoom(factor) }, sign);
    const graph = h("section", { class: "panel", "aria-label": "Graph" },
      h("header", {}, h("h2", {}, "graph"), h("span", { class: "soft" }, boxCount(plan)), h("span", { class: "spring" }), zoom("Smaller", "−", 0.8), zoom("Fit", "fit", 0), zoom("Larger", "+", 1.25)), this.graph.element);
    this.tabs = new Tabs("Views of the run", [
      ["timeline", this.gantt.element, []], ["steps", this.steps.element, this.steps.more],
      ["events", this.events.element, this.events.more], ["log", this.log.element, this.log.more], ["figures", this.figures, []],
    ], (name) => { if (name === "events") this.events.anew(); if (name === "log") this.log.anew(); if (name === "figures") this.showFigures(); if (name === "steps") this.steps.select(); });
    this.column = h("div", { class: "column" }, graph, this.tabs.element);
    this.split = h("div", { class: "split" }, this.column, this.side.element);
    fill(this.root, this.head.element, this.notices, this.split, this.time.element);
    if (this.version) this.time.version = this.version;
    this.log.at(this.version);
    this.time.grow(this.state.version);
    this.time.tell(this.state.event);
  }

  reload() {
    if (!this.time) return;
    this.refresh();
    this.log.anew();
  }

  /** Handlers have said something: the newest line of each run that has. */
  heard(said) {
    if (this.id in said) this.log?.heard(said[this.id]);
  }

  take(lines) {
    const line = lines.find((one) => one.id === this.id);
    if (!line || !this.time) return;
    if (line.status !== this.line?.status) announce(`${line.name} is ${runWord(line.status)}`);
    this.line = line;
    if (this.plan.steps.length < LARGE) this.refresh();
    else this.later ??= setTimeout(() => { this.later = null; this.refresh(); }, 1000);
  }

  seek(version) {
    this.version = version;
    history.replaceState(null, "", address(this.id, version));
    this.log.at(version);
    this.refresh();
  }

  async fetch() {
    try {
      const past = this.version !== null && this.timeline; // its bars are here already
      const [state, timeline] = await Promise.all([
        ask("state", { run: this.id, version: this.version }),
        past ? this.timeline : ask("timeline", { run: this.id, after: this.timelined }),
      ]);
      if (this.closed) return;
      if (!past) this.gantt.take(timeline.bars);
      this.timelined = timeline.version;
      this.timeline = timeline;
      this.state = state;
      this.time.grow(Math.max(timeline.version, state.version, this.line?.version ?? 0), timeline.marks);
      this.show();
      this.time.tell(state.event);
      if (this.tabs.chosen === "events") this.events.at(this.version ?? 0);
      else this.events.upto = this.version ?? 0;
      if (this.chosen !== null && this.chosen !== undefined) await this.choose(this.chosen);
    } catch (error) {
      if (!this.closed) alertUser(error.message);
    }
  }

  /** What time itself changes, while nothing is recorded. */
  tick() {
    if (this.version !== null || this.about.finished.includes(this.state.status)) return;
    this.draw();
    if (this.plan.steps.length < LARGE && Date.now() - (this.fetched ?? 0) > 3000) {
      this.fetched = Date.now();
      this.refresh();
    }
  }

  show() {
    const { state } = this;
    const names = this.about.states;
    this.states = Array.from(state.states, (letter) => names[letter.charCodeAt(0) - 97]);
    this.attention = new Map(state.attention.map((one) => [one.i, one]));
    this.showHead();
    this.showNotices();
    this.graph.show(this.states, (i) => state.seconds[i]);
    this.steps.take(this.states, state, this.attention);
    this.draw();
    if (this.tabs.chosen === "figures") this.showFigures();
  }

  draw() {
    if (!this.timeline) return;
    const { first, last } = this.timeline;
    const ended = this.about.finished.includes(this.line?.status ?? this.state.status) || this.state.ended;
    const now = Date.now() + this.about.ahead;
    const end = this.version === null && !ended && !this.state.lost && this.state.status !== "paused" ? now : last;
    this.gantt.draw(first, Math.max(end, last), this.version === null ? Math.max(end, last) : this.state.at);
  }

  showHead() {
    const { state, head } = this;
    const { progress } = state;
    tell(head.name, state.name);
    fill(head.status, badge(state.lost ? "lost" : state.status, { solid: true, text: runWord(state.lost ? "lost" : state.status) }));
    tell(head.id, state.id);
    const facts = [];
    if (state.parent) facts.push(h("a", { href: address(state.parent) }, "within another run"));
    if (state.process) facts.push(h("span", { class: "soft" }, `process ${state.process.pid} on ${state.process.host}`));
    if (state.queue) facts.push(h("span", { class: "soft" }, `queue ${state.queue}`));
    if (state.priority) facts.push(h("span", { class: "soft" }, `priority ${state.priority}`));
    fill(head.facts, facts);
    const key = JSON.stringify([state.status, state.lost, state.awaits, this.version]);
    if (key !== head.key) {
      head.key = key;
      fill(head.acts, buttons(this.about, state, this.plan, this.version, () => this.chosen));
    }
    fillBar(head.bar, state.counts);
    fill(head.figures, [
      ["steps", `${count(progress.completed_steps)} of ${count(progress.total_steps)}`], ["done", `${Math.floor(progress.percentage)} %`],
      ["elapsed", seconds(progress.elapsed)],
      ["left, about", state.status === "running" && state.live && progress.estimated_remaining !== null ? seconds(progress.estimated_remaining) : ""],
      ["retried", state.figures.steps_retried || ""], ["failed", progress.failed_steps || ""],
      ["submitted", moment(state.submitted)], ["memory", state.figures.memory_used ? `${Math.round(state.figures.memory_used)} MiB` : ""],
    ].filter(([, value]) => value !== "").map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, String(value)))));
    fill(head.legend, ORDER.filter((one) => state.counts[one]).map((one) => h("button", {
      type: "button", style: tone(one), title: "Show these steps", onclick: () => this.group(null, word(one), one),
    }, h("span", { class: "glyph", "aria-hidden": "true" }, SIGNS[one]), `${count(state.counts[one])} ${word(one)}`)));
  }

  showNotices() {
    const { state } = this;
    const found = [];
    const add = (kind, ...parts) => {
      const one = h("div", { class: "notice" }, parts);
      restyle(one, tone(kind));
      found.push(one);
    };
    if (state.error) add("failed", h("span", {}, state.error));
    if (state.live && state.lost) add("failed", "Nobody executes this run: its process has ended. Recover goes on with it.");
    if (state.live && state.awaits.length && state.status === "running") add("suspended", `Waits for the signal ${state.awaits.join(", ")}.`);
    for (const warning of state.warnings.slice(0, 3)) add("waiting", warning);
    fill(this.notices, found);
    this.notices.hidden = !found.length;
  }

  showFigures() {
    fill(this.figures, figures(this.state, this.plan), resources(this.gantt.held(this.state.at), this.id));
  }

  /** The steps of a box, or in a state. */
  group(members, label, state) {
    this.tabs.choose("steps");
    this.steps.limit({ members: members ?? [...this.plan.steps.keys()], state }, label);
    announce(`steps: ${label}`);
  }

  async choose(index) {
    this.chosen = index;
    this.graph.mark(index);
    try {
      await this.side.step(this.id, index, this.version, this.states[index], this.gantt.attempts(index), this.attention.get(index));
    } catch (error) {
      alertUser(error.message);
    }
    this.layout();
  }

  layout() {
    this.split.classList.toggle("open", !this.side.element.hidden);
  }
}

function head() {
  const parts = {
    name: h("h1", { class: "name" }), status: h("span"), id: h("span", { class: "mono soft" }), facts: h("span", { class: "line" }),
    acts: h("div", { class: "acts", role: "group", "aria-label": "Actions" }), bar: h("div", { class: "bar tall" }), figures: h("dl", { class: "figures" }), legend: h("div", { class: "legend" }),
  };
  const who = h("div", { class: "who" }, h("div", { class: "line" }, parts.name, parts.status), h("div", { class: "line" }, parts.id, parts.facts));
  parts.element = h("header", { class: "column" }, h("div", { class: "title" }, who, parts.acts), parts.figures, parts.bar, parts.legend);
  return parts;
}
