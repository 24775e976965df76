// What can be done to a run, and the dialogs that ask how.
import { act, ask } from "./api.js";
import { h, alertUser, announce, fill } from "./dom.js";
import { address } from "./runs.js";
import { moment, plural } from "./words.js";

const GOING = ["pending", "running", "pausing", "paused", "stopping"];
const RESTING = ["paused", "pausing", "stopped", "failed", "rollback_failed"];

/** The buttons that fit a run's state. */
export function buttons(about, state, plan, version, chosen) {
  const found = [];
  const add = (label, does, kind = "") => found.push(h("button", { type: "button", class: kind, onclick: does }, label));
  const now = (action, told) => perform(state.id, action, told);
  const going = GOING.includes(state.status);
  if (!about.read_only && !version) {
    if (state.lost) add("Recover", () => now("recover"), "main");
    if (["pending", "running"].includes(state.status)) add("Pause", () => now("pause"));
    if (RESTING.includes(state.status)) add("Resume", () => now("resume"), "main");
    if (going) add("Signal…", () => signal(state), state.awaits.length ? "main" : "");
    if (["pending", "running", "pausing", "paused"].includes(state.status)) add("Stop", () => now("stop"));
    if (going || state.status === "stopped") add("Cancel…", () => cancel(state), "grave");
  }
  if (!about.read_only) add("Fork…", () => fork(state, plan, chosen()));
  add("Compare…", () => compare(state, version));
  return found;
}

async function perform(run, action, told) {
  try {
    const answer = await act(run, action, told);
    announce(`${action}: the run is ${answer.status}`);
    return answer;
  } catch (error) {
    alertUser(error.message);
    return null;
  }
}

/** A dialog; `does` gets its form and returns whether it is done. */
function dialog(title, parts, verb, does, kind = "main") {
  const send = h("button", { class: kind }, verb);
  const form = h("form", { method: "dialog" }, h("h2", {}, title), parts,
    h("div", { class: "choices" }, h("button", { type: "button", onclick: () => box.close() }, "Not now"), send));
  const box = h("dialog", { "aria-label": title }, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    send.disabled = true;
    if (await does(form)) box.close();
    send.disabled = false;
  });
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
  return box;
}

function signal(state) {
  const names = h("datalist", { id: "awaited" }, state.awaits.map((name) => h("option", { value: name })));
  const waited = state.awaits.length ? `Steps wait for ${state.awaits.join(", ")}.` : "No step waits now; it is kept for the one that will.";
  dialog("Send a signal", [
    h("p", { class: "hint" }, waited),
    h("label", {}, "Name", h("input", { name: "name", required: true, list: "awaited", value: state.awaits[0] ?? "", autocomplete: "off" }), names),
    h("label", {}, "Value, as JSON", h("textarea", { name: "value" }, "true")),
  ], "Send", async (form) => perform(state.id, "signal", { name: form.elements.name.value, value: form.elements.value.value || "null" }));
}

function cancel(state) {
  dialog(`Cancel ${state.name}?`, [h("p", {}, "What runs is interrupted, and the run ends for good. A stopped run could be resumed.")],
    "Cancel the run", async () => perform(state.id, "cancel"), "grave");
}

function fork(state, plan, chosen) {
  const names = h("datalist", { id: "steps" }, plan.steps.slice(0, 2000).map((name) => h("option", { value: name })));
  dialog(`Fork ${state.name}`, [
    h("p", { class: "hint" }, "A new run begins with the outputs of this one. Done again are the step you name, those that are set otherwise or were not completed, and what follows from them."),
    h("label", {}, "From step", h("input", { name: "from", list: "steps", autocomplete: "off", value: plan.steps[chosen] }), names),
    h("label", {}, "Settings, one a line: step.key=value", h("textarea", { name: "settings", placeholder: "chunk.chunk_size=300", spellcheck: "false" })),
  ], "Begin", async (form) => {
    const from = form.elements.from.value;
    const settings = form.elements.settings.value.split("\n").map((line) => line.trim()).filter(Boolean);
    const answer = await perform(state.id, "fork", { steps: from ? [from] : [], settings });
    if (answer) location.hash = address(answer.run);
    return answer;
  });
}

async function compare(state, version) {
  const choices = h("select", { name: "other" });
  dialog("Compare with", [h("label", {}, "Run", choices)], "Compare", async (form) => {
    const [other, at] = JSON.parse(form.elements.other.value);
    const query = version ? `?va=${version}` : at ? `?vb=${at}` : "";
    location.hash = `#/compare/${encodeURIComponent(state.id)}/${encodeURIComponent(other)}${query}`;
    return true;
  });
  const lines = (await ask("runs")).slice(0, 2000);
  const near = [...lines.filter((line) => line.name === state.name), ...lines.filter((line) => line.name !== state.name)];
  const others = near.filter((line) => line.id !== state.id).slice(0, 300).map((line) => h("option", { value: JSON.stringify([line.id]) }, `${line.name}, ${line.status}, ${moment(line.submitted)}, ${line.id}`));
  if (version) others.unshift(h("option", { value: JSON.stringify([state.id]) }, `this run as it is now (event ${version} against all)`));
  fill(choices, others.length ? others : h("option", { value: JSON.stringify([state.id]) }, `itself: there is no other run, ${plural(0, "run")}`));
}
