// A list of any length of which only what is in sight is in the page.
import { h } from "./dom.js";

const BEYOND = 8;

/** `make()` gives an empty row, `show(row, index)` fills it, `open(index)` is what Enter and a click do. */
export class List {
  constructor({ label, height, make, show, open, columns }) {
    this.height = height;
    this.count = 0;
    this.rows = new Map();
    this.spare = [];
    this.active = 0;
    Object.assign(this, { make, show, open });
    this.space = h("div", { class: "space", role: "presentation" });
    this.element = h("div", { class: "list", role: "grid", "aria-label": label, "aria-colcount": columns, tabindex: "-1" }, this.space);
    this.element.addEventListener("scroll", () => this.draw(), { passive: true });
    this.element.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(this.element);
  }

  /** There are so many rows now; all in sight are filled anew. */
  resize(count) {
    this.count = count;
    this.active = Math.max(0, Math.min(this.active, count - 1));
    this.space.style.height = `${count * this.rowHeight}px`;
    this.element.setAttribute("aria-rowcount", count);
    this.draw(true);
  }

  get rowHeight() {
    return typeof this.height === "function" ? this.height() : this.height;
  }

  /** Fill what is in sight; `anew`: also what was there already. */
  draw(anew = false) {
    const tall = this.rowHeight;
    const first = Math.max(0, Math.floor(this.element.scrollTop / tall) - BEYOND);
    const last = Math.min(this.count, Math.ceil((this.element.scrollTop + this.element.clientHeight) / tall) + BEYOND);
    for (const [index, row] of this.rows) {
      if (index >= first && index < last) continue;
      if (row.contains(document.activeElement) && index < this.count) continue;
      this.rows.delete(index);
      row.remove();
      this.spare.push(row);
    }
    for (let index = first; index < last; index++) {
      let row = this.rows.get(index);
      const there = row !== undefined;
      if (!there) row = this.take(index);
      if (anew || !there) this.show(row, index);
      row.tabIndex = index === this.active ? 0 : -1;
    }
    if (!this.rows.has(this.active) && first < last) this.rows.get(first).tabIndex = 0;
  }

  take(index) {
    const row = this.spare.pop() ?? this.fresh();
    row.style.transform = `translateY(${index * this.rowHeight}px)`;
    row.style.height = `${this.rowHeight}px`;
    row.setAttribute("aria-rowindex", index + 1);
    row.dataset.index = index;
    this.rows.set(index, row);
    this.space.append(row);
    return row;
  }

  fresh() {
    const row = this.make();
    row.classList.add("row");
    row.setAttribute("role", "row");
    for (const cell of row.children) if (!cell.hasAttribute("role")) cell.setAttribute("role", "gridcell");
    row.addEventListener("click", (event) => this.click(event, row));
    return row;
  }

  click(event, row) {
    this.active = Number(row.dataset.index);
    if (event.metaKey || event.ctrlKey || !this.open) return;
    event.preventDefault();
    this.open(this.active, event);
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.rowHeight) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -this.count, End: this.count };
    if (event.key in steps) this.focus(this.active + steps[event.key]);
    else if ((event.key === "Enter" || event.key === " ") && this.open) this.open(this.active, event);
    else return;
    event.preventDefault();
  }

  /** Bring a row into sight, and the focus to it. */
  focus(index) {
    this.active = Math.max(0, Math.min(index, this.count - 1));
    this.reveal(this.active);
    this.draw();
    this.rows.get(this.active)?.focus({ preventScroll: true });
  }

  /** Bring a row into sight. */
  reveal(index) {
    const top = index * this.rowHeight;
    const room = this.element.clientHeight;
    if (top < this.element.scrollTop) this.element.scrollTop = top;
    else if (top + this.rowHeight > this.element.scrollTop + room) this.element.scrollTop = top + this.rowHeight - room;
  }
}
