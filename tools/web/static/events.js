// What is recorded of a run, the newest first; only what is in sight is asked for.
import { ask, latest } from "./api.js";
import { h, fill, tell, alertUser } from "./dom.js";
import { List } from "./list.js";
import { brief, clock, count } from "./words.js";

const PAGE = 100;
const BAD = /Failed|TimedOut|Interrupted|Cancelled|DeadlineExceeded/;
const KINDS = [["all", ""], ["failures", "Failed"], ["retries", "Retry"], ["progress", "Progressed"], ["run", "Pipeline"], ["signals", "Signal"]];

export class Events {
  /** `open(event)` shows an event, `seek(version)` goes back to it. */
  constructor(run, { open }) {
    Object.assign(this, { run, open });
    this.text = "";
    this.upto = 0;
    this.pages = new Map();
    this.generation = 0;
    this.list = new List({
      label: "Events", height: 28, columns: 5, make: row,
      show: (element, i) => this.show(element, i), open: (i) => { const event = this.event(i); if (event) open(event); },
    });
    this.search = h("input", { type: "search", placeholder: "Type or step", "aria-label": "Find events by type or step", oninput: () => this.find(this.search.value) });
    const kind = h("select", { "aria-label": "Kind of events", onchange: () => { this.search.value = kind.value; this.find(kind.value); } }, KINDS.map(([label, value]) => h("option", { value }, label)));
    this.total = h("span", { class: "soft" });
    this.more = [this.total, kind, this.search];
    this.empty = h("p", { class: "empty", hidden: true }, "No event fits.");
    this.element = h("div", { class: "events" }, h("div", { class: "head" }, ["#", "time", "event", "step", ""].map((one, i) => h("span", { class: i ? "" : "num" }, one))), this.list.element, this.empty);
    this.load = latest((page) => this.fetch(page));
  }

  find(text) {
    this.text = text;
    this.list.element.scrollTop = 0;
    this.anew();
  }

  /** Show the events up to a version; 0: all. */
  at(upto) {
    this.upto = upto;
    this.anew();
  }

  anew() {
    this.generation += 1;
    this.wanted = new Set();
    if (this.list.element.offsetParent === null) return; // it is asked for when it is shown
    this.load(Math.floor(this.list.element.scrollTop / 28 / PAGE));
  }

  async fetch(page) {
    const generation = this.generation;
    try {
      const told = await ask("events", { run: this.run, upto: this.upto, first: page * PAGE, count: PAGE, text: this.text });
      if (generation !== this.generation) return;
      if (this.loaded !== generation) this.pages.clear();
      this.loaded = generation;
      this.pages.set(page, told.events);
      tell(this.total, `${count(told.count)} events`);
      this.empty.hidden = told.count > 0;
      this.list.element.hidden = !told.count;
      this.list.resize(told.count);
      if (this.pages.size > 40) this.pages.delete(this.pages.keys().next().value);
    } catch (error) {
      alertUser(error.message);
    }
  }

  event(i) {
    return this.pages.get(Math.floor(i / PAGE))?.[i % PAGE];
  }

  show(element, i) {
    const [version, at, type, step, what] = element.children;
    const event = this.event(i);
    element.classList.toggle("bad", Boolean(event && BAD.test(event.type)));
    tell(version, event?.version ?? "");
    tell(at, event ? clock(event.at, true) : "");
    tell(type, event?.type ?? "…");
    tell(step, event?.step ?? "");
    tell(what, event ? brief(event.payload) : "");
    const page = Math.floor(i / PAGE);
    if (!event && !this.wanted.has(page)) {
      this.wanted.add(page);
      this.load(page).then(() => this.wanted.delete(page));
    }
  }
}

function row() {
  return h("div", {}, h("span", { class: "num soft" }), h("span", { class: "soft c-when" }), h("span", { class: "cut" }), h("span", { class: "cut name" }), h("span", { class: "cut mono soft c-what" }));
}
