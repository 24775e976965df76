// Metrics, the slowest steps, and resources.
import { ask } from "./api.js";
import { h, fill, restyle } from "./dom.js";
import { address } from "./runs.js";
import { facts } from "./side.js";
import { count, moment, seconds } from "./words.js";

const WORDS = { total_time: "since submitted", memory_used: "peak memory", steps_executed: "steps executed", steps_failed: "steps failed", steps_skipped: "steps skipped", steps_retried: "retries" };

export function figures(state, plan) {
  const counters = Object.entries(state.counters);
  const measured = Object.entries(state.figures).filter(([, value]) => value !== null).map(([name, value]) => [WORDS[name] ?? name, name === "total_time" ? seconds(value) : name === "memory_used" ? `${count(Math.round(value))} MiB` : count(value)]);
  const slowest = state.seconds.map((took, i) => [took, i]).filter(([took]) => took > 0).sort((a, b) => b[0] - a[0]).slice(0, 10);
  const most = slowest[0]?.[0] ?? 1;
  const waiting = Object.entries(state.signals);
  return [
    h("section", {}, h("h2", {}, "what it counted"), counters.length ? facts(counters.map(([name, value]) => [name, count(value)])) : h("p", { class: "soft" }, "Nothing yet.")),
    h("section", {}, h("h2", {}, "the run"), facts([...measured, ["on failure", state.on_failure], ["epoch", String(state.epoch)], ["deadline", moment(state.deadline)], ...waiting.map(([name, many]) => [`signal ${name}`, `${many} not taken`])])),
    h("section", {}, h("h2", {}, "longest steps"), slowest.length ? slowest.map(([took, i]) => meter(plan.steps[i], took / most, seconds(took), "completed")) : h("p", { class: "soft" }, "None has run.")),
  ];
}

function meter(name, share, told, state) {
  const part = h("i");
  restyle(part, { width: `${Math.min(100, 100 * share)}%`, "--tone": `var(--s-${state})` });
  return h("div", { class: "meter" }, h("span", { class: "cut name", title: name }, name), h("span", { class: "bar" }, part), h("span", { class: "num" }, told));
}

/** What the run holds at the moment, and what the machine has now. */
export function resources(held, id) {
  const mine = Object.entries(held);
  const here = h("section", {}, h("h2", {}, "held by the run"), mine.length ? facts(mine.map(([name, amount]) => [name, count(amount)])) : h("p", { class: "soft" }, "Nothing at this moment."));
  const machine = h("section", {}, h("h2", {}, "this machine, now"), h("p", { class: "soft" }, "…"));
  ask("resources").then((told) => {
    const waits = told.waiting.length ? facts(told.waiting.slice(0, 12).map((one) => [one.step ?? "", h("span", {}, Object.entries(one.amounts).map(([key, value]) => `${count(value)} ${key}`).join(", "), one.run && one.run !== id ? h("a", { href: address(one.run) }, " run") : null)])) : null;
    fill(machine, h("h2", {}, `${told.machine}, now`),
      told.resources.length ? told.resources.map((one) => meter(one.id, one.held / (one.capacity || 1), `${count(one.held)} of ${count(Math.round(one.capacity * 10) / 10)}`, one.held >= one.capacity ? "waiting" : "running")) : h("p", { class: "soft" }, "No step has asked for resources yet."),
      waits && h("h2", {}, "waiting for more"), waits);
  }, (error) => fill(machine.lastChild, error.message));
  return [here, machine];
}
