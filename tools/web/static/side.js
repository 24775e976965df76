// The side panel: all that is known of a step, or of an event.
import { ask } from "./api.js";
import { h, fill } from "./dom.js";
import { badge } from "./states.js";
import { address } from "./runs.js";
import { bytes, clock, moment, seconds } from "./words.js";

export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

export class Side {
  constructor(closed) {
    this.body = h("div", { class: "body" });
    this.head = h("h2", { class: "cut" });
    this.element = h("aside", { class: "panel side", hidden: true, "aria-label": "Details", tabindex: "-1" },
      h("header", {}, this.head, h("span", { class: "spring" }), h("button", { class: "quiet", type: "button", "aria-label": "Close the details", onclick: () => this.close() }, "✕")), this.body);
    this.element.addEventListener("keydown", (event) => { if (event.key === "Escape") this.close(); });
    this.closed = closed;
  }

  open(title) {
    fill(this.head, title);
    const before = this.element.hidden;
    this.element.hidden = false;
    if (before) this.from = document.activeElement;
    if (before) this.element.focus({ preventScroll: true });
  }

  close() {
    this.element.hidden = true;
    this.closed();
    this.from?.focus?.({ preventScroll: true });
  }

  async step(run, index, version, state, attempts, remark) {
    const told = await ask("step", { run, index, version });
    const { definition } = told;
    this.open("step");
    const config = Object.keys(definition.config ?? {}).length ? h("pre", {}, JSON.stringify(definition.config, null, 2)) : null;
    fill(this.body,
      h("div", {}, h("h1", { class: "name" }, definition.name), badge(state)),
      facts([
        ["type", definition.type],
        ["waits for", remark?.waits_for],
        ["progress", remark?.message],
        ["run", told.run_id && h("a", { href: address(told.run_id), class: "mono" }, told.run_id)],
        ["after", told.before.slice(0, 20).join(", ")],
        ["before", told.after.slice(0, 20).join(", ")],
        ["handler", definition.handler],
        ["timeout", definition.timeout && seconds(definition.timeout)],
        ["resources", definition.resources && Object.entries(definition.resources).map(([key, value]) => `${value} ${key}`).join(", ")],
        ["retries", definition.retry && (definition.retry.max_retries ?? 3)],
      ]),
      attempts.length ? h("section", {}, h("h2", {}, "attempts"), attemptsOf(attempts)) : null,
      told.error ? h("section", {}, h("h2", {}, "error"), h("p", { class: "bad" }, told.error.text), told.error.traceback ? h("pre", {}, told.error.traceback) : null) : null,
      config && h("section", {}, h("h2", {}, "configuration"), config),
      told.output ? outputOf(told.output) : null);
  }

  event(event, seek) {
    this.open(`event ${event.version}`);
    const trace = event.payload.error?.traceback ?? event.payload.cause?.traceback;
    const plain = JSON.stringify(event.payload, (key, value) => (key === "traceback" ? undefined : value), 2);
    fill(this.body,
      h("h1", {}, event.type),
      facts([
        ["step", event.step && h("span", { class: "name" }, event.step)], ["at", `${moment(event.at)} (${clock(event.at, true)})`], ["by", event.actor],
        ["epoch", String(event.epoch)], ["digest", h("span", { class: "mono" }, event.digest)],
      ]),
      h("div", { class: "acts" }, h("button", { type: "button", onclick: () => seek(event.version) }, "Go to this moment")),
      h("pre", {}, plain), trace ? h("pre", {}, trace) : null);
  }
}

function attemptsOf(attempts) {
  const shown = attempts.slice(-50).reverse();
  return h("table", { class: "grid" }, h("thead", {}, h("tr", {}, ["#", "", "time", "worker"].map((one) => h("th", {}, one)))),
    h("tbody", {}, shown.map((one) => h("tr", {}, h("td", {}, String(one.attempt)),
      h("td", {}, badge(one.outcome), one.kind ? h("span", { class: "soft" }, ` ${one.kind}`) : null, one.error ? h("div", { class: "bad" }, one.error) : null),
      h("td", { class: "num" }, seconds(one.seconds)), h("td", { class: "soft plain" }, one.worker)))));
}

function outputOf(output) {
  const size = `${bytes(output.size)}${output.artifact ? `, artifact ${output.artifact.slice(0, 16)}…` : ""}`;
  let text = output.text;
  if (text && !output.cut) {
    try {
      text = JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      // It is shown as it is recorded.
    }
  }
  return h("section", {}, h("h2", {}, "output"), h("p", { class: "soft" }, size), text ? h("pre", {}, output.cut ? `${text}…` : text) : null, output.error ? h("p", { class: "bad" }, output.error) : null);
}
