// The time slider: any moment of the run's history, by its events.
import { h, tell, restyle } from "./dom.js";
import { clock, count } from "./words.js";

const PLAYED = 12; // seconds in which the whole history is played

export class Time {
  /** `seek(version)` is called with a moment; null: now. */
  constructor(seek) {
    this.seek = seek;
    this.head = 1;
    this.version = null;
    this.marks = [];
    this.input = h("input", { type: "range", min: "1", max: "1", value: "1", "aria-label": "Moment of the run, by its events", oninput: () => this.go(Number(this.input.value)) });
    this.canvas = h("canvas", { "aria-hidden": "true" });
    this.live = h("button", { class: "live", type: "button", "aria-pressed": "true", onclick: () => this.go(null) }, "now");
    this.player = h("button", { type: "button", "aria-label": "Play the history", title: "Play the history", onclick: () => this.play() }, "▶");
    const knob = (label, sign, step) => h("button", { type: "button", "aria-label": label, title: label, onclick: () => this.go(step()) }, sign);
    this.told = h("span", { class: "cut" });
    this.what = h("span", { class: "cut" });
    this.element = h("section", { class: "time", "aria-label": "Time" },
      h("div", { class: "knobs" }, knob("To the beginning", "⇤", () => 1), knob("One event back", "‹", () => this.now - 1), this.player, knob("One event on", "›", () => this.now + 1)),
      h("div", { class: "slide" }, this.input, this.canvas), this.live, h("div", { class: "told" }, this.told, this.what));
    new ResizeObserver(() => this.paint()).observe(this.canvas);
  }

  get now() {
    return this.version ?? this.head;
  }

  go(version) {
    this.pause();
    this.set(version);
  }

  set(version) {
    this.version = version === null || (version >= this.head && !this.timer) ? null : Math.max(1, version);
    this.show();
    this.seek(this.version);
  }

  /** There are so many events by now. */
  grow(head, marks) {
    this.head = head;
    if (marks) this.marks = marks;
    this.input.max = head;
    this.show();
    this.paint();
  }

  show() {
    this.input.value = this.now;
    this.element.classList.toggle("past", this.version !== null);
    this.live.setAttribute("aria-pressed", String(this.version === null));
  }

  /** Say what the moment is: `{at, type, step}`. */
  tell(moment) {
    const place = `event ${count(this.now)} of ${count(this.head)}`;
    const text = moment ? `${clock(moment.at, true)}` : "";
    tell(this.told, text ? `${place} · ${text}` : place);
    tell(this.what, moment ? `${moment.type}${moment.step ? ` ${moment.step}` : ""}` : "");
    this.input.setAttribute("aria-valuetext", `${place}, ${text}, ${moment ? `${moment.type} ${moment.step}` : ""}`);
  }

  play() {
    if (this.timer) return this.pause();
    let at = this.now >= this.head ? 1 : this.now;
    tell(this.player, "❚❚");
    this.player.setAttribute("aria-label", "Stop playing");
    const pace = Math.max(1, this.head / (PLAYED * 5));
    const least = Math.max(200, Math.min(800, (PLAYED * 1000) / this.head));
    this.timer = setInterval(() => {
      at += pace;
      if (at >= this.head) return this.go(null);
      this.set(Math.floor(at));
    }, least);
  }

  pause() {
    clearInterval(this.timer);
    this.timer = null;
    tell(this.player, "▶");
    this.player.setAttribute("aria-label", "Play the history");
  }

  paint() {
    const { canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = canvas.clientHeight * ratio;
    const pen = canvas.getContext("2d");
    const styles = getComputedStyle(canvas);
    restyle(canvas, {});
    for (const [version, state] of this.marks) {
      const x = this.head > 1 ? ((version - 1) / (this.head - 1)) * (canvas.width - 2 * ratio) : 0;
      canvas.style.color = `var(--s-${state})`;
      pen.fillStyle = styles.color;
      pen.fillRect(x, 0, Math.max(1.5 * ratio, 1), canvas.height);
    }
  }
}
