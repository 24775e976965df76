// States: their words, signs and colours. Each has a sign, for those who see no colours.
import { h, s, restyle, fill } from "./dom.js";
import { count } from "./words.js";

export const SIGNS = {
  pending: "○", waiting: "◔", running: "▸", suspended: "◆", retrying: "↻", completed: "✓", failed: "✕",
  skipped: "⤼", cancelled: "⊘", compensating: "↶", compensated: "↺", compensation_failed: "✕",
  pausing: "‖", paused: "‖", stopping: "■", stopped: "■", cancelling: "⊘", rolling_back: "↶",
  rolled_back: "↺", rollback_failed: "✕", erased: "▨", lost: "!",
};
const WORDS = {
  pending: "waiting", waiting: "queued", compensating: "undoing", compensated: "undone",
  compensation_failed: "not undone", rolling_back: "rolling back", rolled_back: "rolled back",
  rollback_failed: "rollback failed",
};
const OUTCOMES = {
  timed_out: "failed", interrupted: "retrying", abandoned: "cancelled", yielded: "pending",
  undone: "compensated", not_undone: "compensation_failed",
};
const FAILS = new Set(["failed", "timed_out", "interrupted", "cancelled", "abandoned", "not_undone"]);
/** The order in which states stand in a bar: what is done, what went wrong, what runs, the rest. */
export const ORDER = [
  "completed", "compensated", "skipped", "failed", "compensation_failed", "cancelled", "running",
  "compensating", "retrying", "suspended", "waiting", "pending",
];

export const word = (state) => WORDS[state] ?? String(state).replaceAll("_", " ");
/** Of a run: `pending` is in a queue. */
export const runWord = (status) => (status === "pending" ? "queued" : word(status));
export const fails = (outcome) => FAILS.has(outcome);

export function tone(state) {
  const known = OUTCOMES[state] ?? state;
  return { "--tone": `var(--s-${known in SIGNS ? known : "pending"})`, "--tint": `var(--t-${known in SIGNS ? known : "pending"})` };
}

export function badge(state, { solid = false, text = word(state) } = {}) {
  const moves = state === "running" ? " pulse" : "";
  return h("span", { class: solid ? "badge solid" : "badge", style: tone(state) },
    h("span", { class: `glyph${moves}`, "aria-hidden": "true" }, SIGNS[state] ?? "○"), text);
}

/** Put other parts into a bar; it says the same in words. */
export function fillBar(bar, counts) {
  const total = Object.values(counts).reduce((sum, one) => sum + one, 0) || 1;
  const there = ORDER.filter((state) => counts[state]);
  bar.setAttribute("role", "img");
  bar.setAttribute("aria-label", there.map((state) => `${counts[state]} ${word(state)}`).join(", ") || "nothing");
  fill(bar, there.filter((state) => state !== "pending").map((state) => {
    const part = h("i", { title: `${count(counts[state])} ${word(state)}` });
    restyle(part, { ...tone(state), width: `${(100 * counts[state]) / total}%` });
    return part;
  }));
  return bar;
}

export function svgBar(counts, x, y, width, height) {
  const total = Object.values(counts).reduce((sum, one) => sum + one, 0) || 1;
  let from = x;
  return ORDER.filter((state) => counts[state]).map((state) => {
    const wide = (width * counts[state]) / total;
    const kind = state === "pending" ? "rest" : "tone";
    const part = s("rect", { class: kind, x: from, y, width: wide, height, style: tone(state) });
    from += wide;
    return part;
  });
}
