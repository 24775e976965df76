// Talking to the server: the token, questions, actions, and what happens meanwhile.

const KEY = "semantica-pipeline-token";

/** Take the token out of the address, where it would be seen and copied. */
export function takeToken() {
  const found = /^#token=([\w-]+)/.exec(location.hash);
  if (!found) return;
  localStorage.setItem(KEY, found[1]);
  history.replaceState(null, "", `${location.pathname}#/`);
}

export class Failure extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

function headers() {
  return { Authorization: `Bearer ${localStorage.getItem(KEY) ?? ""}` };
}

async function answered(response) {
  const told = await response.json().catch(() => ({}));
  if (!response.ok) throw new Failure(response.status, told.error ?? response.statusText);
  return told;
}

/** Ask: `ask("state", {run, version})`. Arguments that are null or undefined are left out. */
export async function ask(what, given = {}, signal) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(given)) if (value !== null && value !== undefined) query.set(key, value);
  return answered(await fetch(`api/${what}?${query}`, { headers: headers(), signal }));
}

/** Have something done to a run. */
export async function act(run, action, told = {}) {
  const body = JSON.stringify({ ...told, run, action });
  const type = { "Content-Type": "application/json" };
  return answered(await fetch("api/act", { method: "POST", body, headers: { ...headers(), ...type } }));
}

/** Listen for as long as the page is open. An EventSource could not send the token.
 *  `on.open` comes again after every interruption: what happened meanwhile is unknown then. */
export async function listen(on) {
  for (let pause = 500; ; pause = Math.min(pause * 2, 8000)) {
    try {
      const response = await fetch("api/stream", { headers: headers() });
      if (!response.ok) await answered(response);
      pause = 500;
      on.open();
      await read(response.body, on);
    } catch (error) {
      if (error.status === 401) return on.stranger();
    }
    on.lost();
    await new Promise((done) => setTimeout(done, pause));
  }
}

async function read(body, on) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const data = /^event: (runs|said)\ndata: (.*)$/.exec(part);
      if (data) on[data[1]](JSON.parse(data[2]));
    }
  }
}

/** A question of which only the newest matters, one at a time: while an answer is awaited, the
 *  last one asked meanwhile waits, and those before it are forgotten. */
export function latest(question) {
  let busy = false;
  let next = null;
  return async function again(...given) {
    if (busy) {
      next = given;
      return;
    }
    busy = true;
    try {
      await question(...given);
    } finally {
      busy = false;
      const waiting = next;
      next = null;
      if (waiting) again(...waiting);
    }
  };
}
