// What the handlers of a run have said, the newest last: up to a moment, or as they say it.
import { ask, latest } from "./api.js";
import { h, fill, tell, alertUser } from "./dom.js";
import { clock } from "./words.js";

const PAGE = 200; // lines that are asked for at once
const MOST = 2000; // that are in the page
const OFFERED = 500; // steps to choose from
const LEVELS = [["all levels", "debug"], ["info and up", "info"], ["warnings and up", "warning"], ["errors", "error"]];

export class Log {
  /** `choose(index)` opens a step. */
  constructor(run, plan, choose) {
    Object.assign(this, { run, plan, choose });
    this.version = null;
    this.wanted = { step: null, level: "debug" };
    this.places = new Map(plan.steps.map((name, i) => [name, i]));
    this.level = h("select", { "aria-label": "Least severe level", onchange: () => this.want({ level: this.level.value }) }, LEVELS.map(([label, value]) => h("option", { value }, label)));
    const names = h("datalist", { id: "log-steps" }, plan.steps.slice(0, OFFERED).map((value) => h("option", { value })));
    this.step = h("input", { type: "search", list: "log-steps", placeholder: "Step", "aria-label": "Only lines of this step", oninput: () => this.find() });
    this.more = [names, this.level, this.step];
    this.earlier = h("button", { type: "button", hidden: true, onclick: () => this.back() }, "Earlier lines");
    this.rows = h("div", { class: "rows", role: "log", "aria-live": "off", "aria-label": "What handlers have said" });
    this.scroll = h("div", { class: "scroll", role: "region", "aria-label": "Lines", tabindex: "0" }, this.earlier, this.rows);
    this.empty = h("p", { class: "empty", hidden: true });
    this.element = h("div", { class: "said" }, this.scroll, this.empty);
    this.load = latest((how) => this.fetch(how));
  }

  /** Show what had been said by a version; null: by now, and what is said from now on. */
  at(version) {
    if (version === this.version) return;
    this.version = version;
    this.anew();
  }

  /** There are lines up to this id. */
  heard(id) {
    const shown = this.element.offsetParent !== null;
    if (shown && this.version === null && this.last !== undefined && id > this.last) this.load("on");
  }

  find() {
    const step = this.step.value;
    const known = !step || this.places.has(step);
    this.step.setAttribute("aria-invalid", String(!known));
    if (known) this.want({ step: step || null });
  }

  want(change) {
    Object.assign(this.wanted, change);
    this.anew();
  }

  anew() {
    this.last = undefined;
    if (this.element.offsetParent !== null) this.load("anew"); // else when it is shown
  }

  async fetch(how) {
    const { version, wanted } = this;
    const on = how === "on" && this.last !== undefined;
    const asked = JSON.stringify([version, wanted]);
    try {
      const told = await ask("lines", { run: this.run, version, ...wanted, count: PAGE, after: on ? this.last : null });
      if (asked !== JSON.stringify([this.version, this.wanted])) return this.load("anew");
      if (on && told.more) return this.load("anew"); // too many to show them one by one
      if (!on) this.begin(told);
      this.append(told.lines, !on);
    } catch (error) {
      alertUser(error.message);
    }
  }

  begin(told) {
    fill(this.rows);
    this.last = 0;
    this.earlier.hidden = !told.more;
  }

  append(lines, anew) {
    const { scroll, rows } = this;
    const below = anew || scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 40;
    rows.append(...lines.map((line) => this.row(line)));
    if (lines.length) this.last = lines.at(-1).id;
    while (rows.childElementCount > MOST && below) {
      rows.firstChild.remove();
      this.earlier.hidden = false;
    }
    this.settle();
    if (below) scroll.scrollTop = scroll.scrollHeight;
  }

  /** The lines before the first one that is here. */
  async back() {
    const { scroll, rows } = this;
    this.earlier.disabled = true;
    try {
      const told = await ask("lines", { run: this.run, version: this.version, ...this.wanted, count: PAGE, before: rows.firstChild?.dataset.id });
      const height = scroll.scrollHeight;
      rows.prepend(...told.lines.map((line) => this.row(line)));
      this.earlier.hidden = !told.more;
      scroll.scrollTop += scroll.scrollHeight - height;
      if (!told.more) scroll.focus();
    } catch (error) {
      alertUser(error.message);
    } finally {
      this.earlier.disabled = false;
    }
  }

  settle() {
    const none = !this.rows.childElementCount;
    const narrowed = this.wanted.step || this.wanted.level !== "debug";
    this.scroll.hidden = none;
    this.empty.hidden = !none;
    tell(this.empty, narrowed ? "No line fits." : "Nothing was said with context.log up to here.");
  }

  row(line) {
    const short = [];
    const long = [];
    if (line.item !== null) short.push(`item=${line.item}`);
    for (const [key, value] of Object.entries(line.fields)) {
      const text = typeof value === "string" ? value : JSON.stringify(value);
      if (text.includes("\n")) long.push([key, text]);
      else short.push(`${key}=${text}`);
    }
    const step = line.attempt > 1 ? `${line.step} (${line.attempt})` : line.step;
    return h("div", { class: `said-line ${line.level}`, "data-id": line.id },
      h("time", { class: "soft", datetime: new Date(line.at).toISOString() }, clock(line.at, true)),
      h("span", { class: "level" }, line.level),
      h("button", { type: "button", class: "cut name", title: `Step ${step}`, onclick: () => this.choose(this.places.get(line.step)) }, step),
      h("div", { class: "what" }, h("span", {}, line.event), short.length > 0 && h("span", { class: "mono soft" }, short.join("  ")),
        long.map(([key, text]) => h("details", {}, h("summary", {}, key), h("pre", {}, text)))));
  }
}
