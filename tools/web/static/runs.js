// The list of runs: found, sorted, and live.
import { ask } from "./api.js";
import { h, fill, tell, restyle, announce, alertUser } from "./dom.js";
import { List } from "./list.js";
import { SIGNS, badge, fillBar, runWord, tone } from "./states.js";
import { count, moment, plural, seconds } from "./words.js";

const COLUMNS = [
  ["name", "pipeline", ""], ["status", "status", ""], ["done", "progress", ""],
  ["submitted", "submitted", "num"], ["took", "took", "num"], ["id", "run", ""],
];

export class Runs {
  title = "runs";

  constructor(root, about, lines, given) {
    Object.assign(this, { root, about, lines: lines ?? new Map(), text: given.get("text") ?? "", status: given.get("status") });
    this.order = { by: "submitted", down: true };
    this.chosen = [];
    this.build();
    this.select();
    if (!lines) this.reload();
  }

  build() {
    const phone = matchMedia("(max-width: 820px)");
    this.list = new List({
      label: "Runs", height: () => (phone.matches ? 52 : 34), columns: 6, make: row,
      show: (element, i) => this.show(element, this.chosen[i]),
      open: (i) => { location.hash = address(this.chosen[i].id); },
    });
    this.search = h("input", {
      type: "search", placeholder: "Pipeline or run", "aria-label": "Find runs by name or id", value: this.text,
      oninput: () => { this.text = this.search.value; this.select(); },
    });
    this.statuses = h("div", { class: "counts", role: "group", "aria-label": "Only runs in a status" });
    this.told = h("span", { class: "soft" });
    this.heads = COLUMNS.map(([key, label, kind]) => h("span", { class: `${kind} c-${key}` },
      h("button", { type: "button", onclick: () => this.sort(key) }, label)));
    this.empty = h("p", { class: "empty" }, "");
    fill(this.root,
      h("h1", { class: "unseen" }, "Runs"),
      h("div", { class: "filters" }, this.search, this.statuses, h("span", { class: "spring" }), this.told),
      h("section", { class: "panel runs" }, h("div", { class: "head" }, this.heads), this.list.element, this.empty));
    this.tick = setInterval(() => this.list.draw(true), 1000);
  }

  close() {
    clearInterval(this.tick);
    this.root.replaceChildren();
  }

  async reload() {
    try {
      const lines = await ask("runs");
      const before = new Map(this.lines);
      this.lines.clear();
      for (const line of lines) this.lines.set(line.id, { ...line, done: line.done ?? before.get(line.id)?.done ?? null });
      this.select();
    } catch (error) {
      alertUser(error.message);
    }
  }

  take(lines) {
    for (const line of lines) {
      const before = this.lines.get(line.id);
      if (before && before.status !== line.status) announce(`${line.name} is ${runWord(line.status)}`);
      this.lines.set(line.id, line);
    }
    if (this.root.contains(this.list.element)) this.select();
  }

  sort(by) {
    this.order = { by, down: this.order.by === by ? !this.order.down : ["submitted", "took", "done"].includes(by) };
    this.select();
  }

  select() {
    const words = this.text.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (line) => words.every((word) => line.name.toLowerCase().includes(word) || line.id.toLowerCase().startsWith(word));
    const found = [...this.lines.values()].filter(fits);
    const counts = new Map();
    for (const line of found) counts.set(state(line), (counts.get(state(line)) ?? 0) + 1);
    const { by, down } = this.order;
    const key = KEYS[by];
    this.chosen = found.filter((line) => !this.status || state(line) === this.status);
    this.chosen.sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      const way = x < y ? -1 : x > y ? 1 : a.submitted - b.submitted;
      return down ? -way : way;
    });
    this.showStatuses(counts);
    this.heads.forEach((head, i) => {
      const way = COLUMNS[i][0] === by ? (down ? "descending" : "ascending") : "";
      head.firstChild.toggleAttribute("data-sort", way !== "");
      if (way) head.firstChild.dataset.sort = way;
      head.firstChild.setAttribute("aria-label", `Sort by ${COLUMNS[i][1]}${way && `, now ${way}`}`);
    });
    tell(this.told, this.chosen.length === this.lines.size ? plural(this.lines.size, "run") : `${count(this.chosen.length)} of ${plural(this.lines.size, "run")}`);
    tell(this.empty, this.lines.size ? "No run fits." : "No runs yet. They appear here as they begin.");
    this.empty.hidden = this.chosen.length > 0;
    this.list.element.hidden = !this.chosen.length;
    this.list.resize(this.chosen.length);
  }

  showStatuses(counts) {
    const known = [...this.about.statuses, "lost"].filter((one) => counts.has(one) || one === this.status);
    const focused = this.statuses.contains(document.activeElement) ? document.activeElement.dataset.status : null;
    fill(this.statuses, known.map((one) => h("button", {
      type: "button", "aria-pressed": String(one === this.status), "data-status": one, style: tone(one),
      onclick: () => { this.status = one === this.status ? null : one; this.select(); },
    }, h("span", { class: "glyph", "aria-hidden": "true" }, SIGNS[one] ?? "○"), ` ${runWord(one)} `, h("span", { class: "soft" }, count(counts.get(one) ?? 0)))));
    if (focused) [...this.statuses.children].find((one) => one.dataset.status === focused)?.focus();
  }

  show(row, line) {
    const [name, status, progress, when, took, id] = row.children;
    row.href = address(line.id);
    row.classList.toggle("child", line.parent !== null);
    tell(name, line.name);
    const now = state(line);
    fill(status, badge(now, { text: runWord(now) }));
    fillBar(progress.firstChild, share(line));
    progress.title = line.done ? `${count(line.done[0])} of ${plural(line.done[1], "step")}` : "";
    tell(when, moment(line.submitted));
    tell(took, seconds(this.took(line)));
    tell(id, line.id);
  }

  took(line) {
    const ends = this.about.finished.includes(line.status) || line.status === "stopped";
    return Math.max(0, (ends ? line.changed : Date.now() + this.about.ahead) - line.submitted) / 1000;
  }
}

const state = (line) => (line.lost ? "lost" : line.status);
const KEYS = {
  name: (line) => line.name.toLowerCase(), status: state, submitted: (line) => line.submitted, id: (line) => line.id,
  took: (line) => line.changed - line.submitted, done: (line) => (line.done ? line.done[0] / (line.done[1] || 1) : line.status === "completed" ? 1 : 0),
};

/** A run's share of the bar: of one that goes on its steps, else how it ended. */
function share(line) {
  if (line.done) {
    const [done, total, failed] = line.done;
    return { completed: done, failed, pending: total - done - failed };
  }
  const whole = { completed: "completed", failed: "failed", cancelled: "cancelled", rolled_back: "compensated", rollback_failed: "compensation_failed", erased: "cancelled" }[line.status];
  return whole ? { [whole]: 1 } : { pending: 1 };
}

function row() {
  const bar = h("span", { class: "bar" });
  const element = h("a", {}, h("span", { class: "cut name" }), h("span", { class: "cut" }), h("span", {}, bar),
    h("span", { class: "num soft c-when" }), h("span", { class: "num c-took" }), h("span", { class: "mono soft cut c-id" }));
  restyle(element.children[2], { "min-width": "0" });
  return element;
}

export const address = (id, version) => `#/run/${encodeURIComponent(id)}${version ? `?at=${version}` : ""}`;
