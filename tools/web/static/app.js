// The page's beginning: who may see it, which view the address names, and what happens in the log.
import { ask, listen, takeToken } from "./api.js";
import { h, fill, tell, alertUser } from "./dom.js";
import { Runs } from "./runs.js";
import { Run } from "./run.js";
import { Compare } from "./compare.js";

const main = document.getElementById("main");
const link = document.getElementById("link");
let about = null;
let view = null;
let list = null;

function route() {
  const [path, query] = location.hash.slice(1).split("?");
  const [kind, ...ids] = path.split("/").filter(Boolean).map(decodeURIComponent);
  const given = new URLSearchParams(query);
  if (view?.stays?.(kind, ids, given)) return;
  view?.close?.();
  if (kind === "run" && ids.length === 1) view = new Run(main, about, ids[0], given);
  else if (kind === "compare" && ids.length === 2) view = new Compare(main, about, ids, given);
  else view = list = new Runs(main, about, list?.lines, given);
  document.title = `${view.title} · semantica pipeline`;
  if (document.activeElement && document.activeElement !== document.body) main.focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

function connected(state) {
  link.className = `link ${state === "live" ? "on" : "off"}`;
  tell(link, state);
}

function stranger() {
  connected("no token");
  fill(main, h("section", { class: "welcome" },
    h("h1", {}, "This window needs its address"),
    h("p", {}, "The log is for its owner only. Open the address that was printed by"),
    h("pre", {}, "semantica-pipeline ui"),
    h("p", { class: "soft" }, "It has a token in it that ends with that command.")));
}

function theme() {
  const modes = ["auto", "light", "dark"];
  const button = document.getElementById("theme");
  let mode = localStorage.getItem("semantica-pipeline-theme") ?? "auto";
  const show = () => {
    document.documentElement.dataset.theme = mode;
    tell(button, mode);
    button.setAttribute("aria-label", `Theme: ${mode}`);
  };
  button.addEventListener("click", () => {
    mode = modes[(modes.indexOf(mode) + 1) % modes.length];
    localStorage.setItem("semantica-pipeline-theme", mode);
    show();
  });
  show();
}

async function begin() {
  theme();
  takeToken();
  try {
    about = await ask("about");
  } catch (error) {
    if (error.status === 401) return stranger();
    return alertUser(`the window does not answer: ${error.message}`);
  }
  about.ahead = about.now - Date.now(); // the log's clock is not the reader's
  tell(document.getElementById("log"), about.log);
  document.getElementById("log").title = about.log;
  document.getElementById("readonly").hidden = !about.read_only;
  addEventListener("hashchange", () => (location.hash.startsWith("#token=") ? location.reload() : route()));
  route();
  listen({
    open: () => { connected("live"); view?.reload?.(); },
    lost: () => connected("interrupted"),
    runs: (lines) => { if (view !== list) list?.take?.(lines); view?.take?.(lines); },
    said: (heads) => view?.heard?.(heads),
    stranger,
  });
}

begin();
