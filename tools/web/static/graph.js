// The graph of a run, its boxes coloured by state; a box may stand for many steps.
import { h, s, fill, restyle } from "./dom.js";
import { SIGNS, svgBar, tone, word } from "./states.js";
import { count, plural, seconds } from "./words.js";

const WIDE = 164;
const TALL = 42;
const ACROSS = 216;
const DOWN = 56;
const MARGIN = 14;
const LETTERS = 20;

export class Graph {
  /** `choose(members)` is called with the steps of the box that is opened. */
  constructor(plan, { choose, label, small = false }) {
    Object.assign(this, { plan, choose, small });
    this.boxes = [];
    this.edges = [];
    this.active = 0;
    this.scale = 0;
    const [wide, tall] = [plan.columns * ACROSS - (ACROSS - WIDE) + 2 * MARGIN, plan.rows * DOWN - (DOWN - TALL) + 2 * MARGIN];
    this.size = [Math.max(wide, WIDE), Math.max(tall, TALL)];
    this.svg = s("svg", { viewBox: `0 0 ${this.size[0]} ${this.size[1]}`, role: "group", "aria-label": label });
    this.element = h("div", { class: "graph" }, this.svg);
    plan.edges.forEach((bends, i) => this.svg.append(this.edge(bends, i)));
    plan.boxes.forEach((members, i) => this.svg.append(this.box(members, i)));
    this.svg.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.fit()).observe(this.element);
    this.marked = [];
  }

  /** As wide as there is room, unless nobody could read it then. */
  fit() {
    const room = this.element.clientWidth;
    if (!room) return;
    const least = this.small ? 0.3 : 0.62;
    const scale = this.scale || Math.min(1, Math.max(least, room / this.size[0]));
    this.svg.setAttribute("width", Math.floor(this.size[0] * scale));
    this.svg.setAttribute("height", Math.floor(this.size[1] * scale));
    this.shown = scale;
  }

  zoom(factor) {
    this.scale = factor ? Math.min(2, Math.max(0.2, this.shown * factor)) : 0;
    this.fit();
  }

  edge(bends, i) {
    const corners = bends.map(corner);
    let [x, y] = [corners[0][0] + WIDE, corners[0][1] + TALL / 2];
    let path = `M${x} ${y}`;
    const to = (nx, ny) => {
      const half = (nx - x) / 2;
      path += `C${x + half} ${y} ${nx - half} ${ny} ${nx} ${ny}`;
      [x, y] = [nx, ny];
    };
    for (const [cx, cy] of corners.slice(1, -1)) {
      to(cx, cy + TALL / 2);
      to(cx + WIDE, cy + TALL / 2);
    }
    const last = corners.at(-1);
    to(last[0], last[1] + TALL / 2);
    const line = s("path", { class: "edge", d: path });
    this.edges.push([line, ...this.plan.ends[i]]);
    return line;
  }

  box(members, i) {
    const [x, y] = corner(this.plan.places[i]);
    const many = members.length > 1;
    const name = many ? `${this.kinds(members)} × ${count(members.length)}` : this.plan.steps[members[0]];
    const parts = {
      text: s("text", { x: x + 14, y: y + 18 }, cut(name, LETTERS + 1)),
      sub: s("text", { class: "sub", x: x + 14, y: y + 32 }),
      tones: s("g", {}),
      title: s("title", {}),
    };
    const face = s("rect", { class: "face", x, y, width: WIDE, height: TALL, rx: 6 });
    const group = s("g", { class: "box", tabindex: "-1", role: "button", onclick: () => this.open(i) }, parts.title, face, parts.tones, parts.text, parts.sub);
    this.boxes.push({ group, members, name, x, y, many, ...parts });
    return group;
  }

  kinds(members) {
    const types = new Set(members.slice(0, 500).map((i) => this.plan.types[i]));
    return types.size === 1 ? [...types][0] : "steps";
  }

  /** Colour the boxes: `states[i]` is the state of step i, `took(i)` how long it has taken. */
  show(states, took) {
    for (const box of this.boxes) {
      const counts = {};
      for (const i of box.members) counts[states[i]] = (counts[states[i]] ?? 0) + 1;
      const told = Object.keys(counts).map((state) => `${counts[state]} ${word(state)}`).join(", ");
      const key = `${told} ${box.many ? "" : took(box.members[0])}`;
      if (box.key === key) continue;
      box.key = key;
      if (box.many) this.showMany(box, counts);
      else this.showOne(box, states[box.members[0]], took(box.members[0]));
      const label = `${box.name}, ${box.many ? told : word(states[box.members[0]])}`;
      box.group.setAttribute("aria-label", label);
      fill(box.title, label);
    }
    if (this.boxes.length) this.boxes[this.active].group.setAttribute("tabindex", "0");
  }

  showOne(box, state, took) {
    restyle(box.group, tone(state));
    box.group.classList.toggle("idle", state === "pending" || state === "skipped");
    const type = this.plan.types[box.members[0]];
    const parts = [type === box.name ? "" : cut(type, 12), state === "completed" ? "" : word(state), state === "pending" ? "" : seconds(took)];
    fill(box.sub, cut(parts.filter(Boolean).join(" · "), 28));
    const pulse = state === "running" ? " pulse" : "";
    fill(box.tones,
      s("rect", { class: "tone", x: box.x, y: box.y, width: 5, height: TALL, rx: 2.5, style: tone(state) }),
      s("text", { class: `sign${pulse}`, x: box.x + WIDE - 18, y: box.y + 18, style: { fill: `var(--s-${state})` } }, SIGNS[state]));
  }

  showMany(box, counts) {
    const idle = Object.keys(counts).length === 1 && counts.pending;
    box.group.classList.toggle("idle", Boolean(idle));
    const trouble = (counts.failed ?? 0) + (counts.compensation_failed ?? 0);
    const done = (counts.completed ?? 0) + (counts.skipped ?? 0);
    const parts = [`${count(done)} done`, counts.running && `${count(counts.running)} running`, trouble && `${count(trouble)} failed`];
    fill(box.sub, parts.filter(Boolean).join(", "));
    fill(box.tones, svgBar(counts, box.x + 1, box.y + TALL - 5, WIDE - 2, 4));
  }

  open(i) {
    this.boxes[this.active].group.setAttribute("tabindex", "-1");
    this.active = i;
    this.boxes[i].group.setAttribute("tabindex", "0");
    this.choose?.(this.boxes[i].members, this.boxes[i].name);
  }

  /** Mark the box of a step, and the edges to and from it. */
  mark(index) {
    const at = index === null ? -1 : this.boxes.findIndex((box) => box.members.includes(index));
    this.boxes.forEach((box, i) => box.group.classList.toggle("chosen", i === at));
    for (const [line, from, to] of this.edges) line.classList.toggle("near", from === at || to === at);
  }

  key(event) {
    const ways = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
    if (event.key === "Enter" || event.key === " ") this.open(this.active);
    else if (event.key in ways) this.walk(...ways[event.key]);
    else return;
    event.preventDefault();
  }

  /** To the nearest box in a direction. */
  walk(dx, dy) {
    const from = this.boxes[this.active];
    let best = null;
    this.boxes.forEach((box, i) => {
      const [x, y] = [box.x - from.x, box.y - from.y];
      const [along, aside] = dx ? [x * dx, Math.abs(y)] : [y * dy, Math.abs(x)];
      if (along <= 0) return;
      const far = along + 2 * aside;
      if (!best || far < best[0]) best = [far, i];
    });
    if (!best) return;
    from.group.setAttribute("tabindex", "-1");
    this.active = best[1];
    const { group } = this.boxes[this.active];
    group.setAttribute("tabindex", "0");
    group.focus();
  }
}

const corner = ([column, row]) => [MARGIN + column * ACROSS, MARGIN + row * DOWN];
const cut = (text, room) => (text.length <= room ? text : `${text.slice(0, room - 1)}…`);

export const boxCount = (plan) => (plan.boxes.length < plan.steps.length ? `${plural(plan.steps.length, "step")} in ${plural(plan.boxes.length, "group")}` : plural(plan.steps.length, "step"));
