// Durations, times and numbers as people say them, as the command line does.

export function seconds(amount) {
  if (amount === null || amount === undefined) return "";
  if (amount < 9.95) return `${amount < 0.995 ? amount.toFixed(2) : amount.toFixed(1)} s`;
  const whole = Math.round(amount);
  const two = (number) => String(number).padStart(2, "0");
  if (whole >= 86400) return `${Math.floor(whole / 86400)} d ${two(Math.floor((whole % 86400) / 3600))} h`;
  if (whole >= 3600) return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
  return whole >= 60 ? `${Math.floor(whole / 60)} min ${two(whole % 60)} s` : `${whole} s`;
}

const DAY = new Intl.DateTimeFormat("sv-SE", { year: "numeric", month: "2-digit", day: "2-digit" });
const CLOCK = new Intl.DateTimeFormat("sv-SE", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export function clock(at, fine = false) {
  if (!at) return "";
  const rest = fine ? `.${String(Math.floor(at) % 1000).padStart(3, "0")}` : "";
  return CLOCK.format(at) + rest;
}

/** A time; without its day, if that is today. */
export function moment(at) {
  if (!at) return "";
  const day = DAY.format(at);
  return day === DAY.format(Date.now()) ? clock(at) : `${day} ${clock(at).slice(0, 5)}`;
}

export function count(number) {
  if (typeof number !== "number") return String(number);
  return Number.isInteger(number) ? number.toLocaleString("en") : number.toLocaleString("en", { maximumFractionDigits: 3 });
}

export function bytes(size) {
  if (size < 1024) return `${size} bytes`;
  return size < 1048576 ? `${(size / 1024).toFixed(1)} KiB` : `${(size / 1048576).toFixed(1)} MiB`;
}

export function plural(number, word) {
  return `${count(number)} ${word}${number === 1 ? "" : "s"}`;
}

/** An event's payload in a line. */
export function brief(payload) {
  const parts = [];
  for (const [key, given] of Object.entries(payload)) {
    if (key === "identity" || key === "definition") continue;
    let value = given;
    if (value && typeof value === "object") {
      if ("message" in value && "type" in value) value = `${value.type}: ${value.message}`;
      else if ("artifact" in value) value = `<${bytes(value.size ?? 0)}>`;
      else if (Object.keys(value).length === 1 && "inline" in value) value = value.inline;
    }
    const text = typeof value === "string" ? value : JSON.stringify(value);
    parts.push(`${key}=${text.length > 120 ? `${text.slice(0, 119)}…` : text}`);
  }
  return parts.join("  ");
}

const TICKS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];

/** Distances that people can count in: `[seconds from the start, label]`, at most so many. */
export function ticks(span, most) {
  let tick = TICKS.find((one) => span / one <= most);
  if (span < most) {
    const power = 10 ** Math.floor(Math.log10(Math.max(span / most, 1e-6)));
    tick = [1, 2, 5, 10].map((factor) => factor * power).find((one) => span / one <= most);
  }
  if (!tick) tick = 86400 * Math.ceil(span / 86400 / most);
  const found = [];
  for (let i = 0; i * tick <= span && found.length <= most; i++) {
    const at = i * tick;
    const label = tick < 1 ? `${Number(at.toPrecision(6))} s` : seconds(at).replace(/ 00 (s|min|h)$/, "").replace(/^(\d+)\.0 s$/, "$1 s");
    found.push([at, at === 0 ? "0" : label]);
  }
  return found;
}
