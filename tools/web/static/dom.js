// Elements made from text alone: whatever a run, a step or an error is called, it stays text.

const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g;
const SVG = "http://www.w3.org/2000/svg";

/** Text with what is not seen, or turns the direction of writing, made visible. */
export function visible(text) {
  return String(text).replace(HIDDEN, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** An element. `on*` are listeners, `style` an object; children are elements or text. */
export function h(tag, props, ...children) {
  return build(document.createElement(tag), props, children);
}

/** The same for SVG. */
export function s(tag, props, ...children) {
  return build(document.createElementNS(SVG, tag), props, children);
}

function build(element, props, children) {
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "style") restyle(element, value);
    else element.setAttribute(key, value === true ? "" : visible(value));
  }
  fill(element, ...children);
  return element;
}

/** Set custom and other properties of style; the policy of the page allows no attribute for it. */
export function restyle(element, style) {
  for (const [key, value] of Object.entries(style)) element.style.setProperty(key, value);
}

/** Put other children into an element. */
export function fill(element, ...children) {
  const nodes = children.flat(Infinity).filter((one) => one !== null && one !== undefined && one !== false);
  element.replaceChildren(...nodes.map((one) => (one instanceof Node ? one : visible(one))));
  return element;
}

/** Set the text of an element, if it is another one. */
export function tell(element, text) {
  const shown = visible(text ?? "");
  if (element.textContent !== shown) element.textContent = shown;
}

/** Say something to who listens to the page instead of looking at it. */
export function announce(text) {
  tell(document.getElementById("polite"), text);
}

/** Show a message for a while; an error stays until it is dismissed. */
export function alertUser(text, tone = "failed") {
  const box = document.getElementById("alerts");
  const close = h("button", { class: "quiet", type: "button", "aria-label": "Dismiss", onclick: () => one.remove() }, "✕");
  const one = h("div", { class: "alert", style: { "--tone": `var(--s-${tone})` } }, h("span", {}, text), close);
  box.append(one);
  while (box.children.length > 4) box.firstChild.remove();
  if (tone !== "failed") setTimeout(() => one.remove(), 6000);
}
