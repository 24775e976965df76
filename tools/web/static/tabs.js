// Views that share a place: one is shown, the arrow keys go from one to the next.
import { h, fill } from "./dom.js";

export class Tabs {
  /** `views` are `[name, element, controls]`; `shown(name)` is called when one is. */
  constructor(label, views, shown) {
    Object.assign(this, { views, shown });
    this.buttons = views.map(([name, view]) => {
      view.id = `view-${name}`;
      view.setAttribute("role", "tabpanel");
      view.setAttribute("aria-label", name);
      return h("button", { type: "button", role: "tab", "aria-controls": view.id, onclick: () => this.choose(name) }, name);
    });
    const bar = h("div", { class: "tabs", role: "tablist", "aria-label": label, onkeydown: (event) => this.key(event) }, this.buttons);
    this.more = h("div", { class: "more" });
    this.element = h("section", { class: "panel" }, h("header", { class: "tabbed" }, bar, this.more), views.map(([, view]) => view));
    this.choose(views[0][0]);
  }

  choose(name) {
    this.chosen = name;
    this.views.forEach(([one, view, controls], i) => {
      const mine = one === name;
      view.hidden = !mine;
      this.buttons[i].setAttribute("aria-selected", String(mine));
      this.buttons[i].tabIndex = mine ? 0 : -1;
      if (mine) fill(this.more, controls);
    });
    this.shown(name);
  }

  key(event) {
    const way = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!way) return;
    const at = this.views.findIndex(([name]) => name === this.chosen);
    const next = (at + way + this.views.length) % this.views.length;
    this.choose(this.views[next][0]);
    this.buttons[next].focus();
    event.preventDefault();
  }
}
