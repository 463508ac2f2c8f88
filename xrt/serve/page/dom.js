// Elements and texts. Data become text nodes only: nothing here takes markup.

/** An element. `attributes` may have on… handlers, `vars` (CSS variables) and properties such as `value`. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "vars") for (const [key, each] of Object.entries(value)) element.style.setProperty(key, each);
    else if (name === "value" || name === "checked" || name === "selected") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(shown(child)));
  }
}

/** Puts these children in the place of all that an element has. */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

// control characters, and signs that turn the direction of the text around them
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** A value as text; what would be unseen shows as U+FFFD. */
export function shown(value) {
  return String(value).replace(UNSEEN, "\ufffd");
}

export const byId = (id) => document.getElementById(id);

export function percent(score) {
  const value = score * 100;
  if (value === 0) return "0 %";
  if (value > 0 && value < 0.1) return "<0.1 %";
  return `${value.toFixed(value < 10 ? 1 : 0)} %`;
}

export const count = (number) => number.toLocaleString("en");

/** `1 row`, `2 rows`. */
export const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;

/** A horizontal bar of a share of 0 to 1; `mark` is a second share, a line across it. */
export function bar(share, mark = null) {
  const limit = (value) => String(Math.max(0, Math.min(1, value)));
  const vars = { "--share": limit(share) };
  if (mark !== null) vars["--mark"] = limit(mark);
  return h("span", { class: "bar", "aria-hidden": "true", vars }, h("i"), mark === null ? null : h("b"));
}

/** Says something to who cannot see the page. */
export function announce(text) {
  byId("status").textContent = shown(text);
}

/** Shows a fault in words; null takes it away. */
export function showProblem(text) {
  const box = byId("problem");
  box.hidden = !text;
  if (text) {
    fill(box, h("span", {}, text), h("button", { type: "button", class: "quiet", onclick: () => showProblem(null) }, "Close"));
  } else {
    box.replaceChildren();
  }
}

/** A function that runs once, `delay` milliseconds after the last call. */
export function debounce(work, delay) {
  let timer;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...values), delay);
  };
}

let lastId = 0;
export const newId = (prefix) => `${prefix}-${++lastId}`;

/** Lets the browser save a text as a file. */
export function download(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

/** A text cut to some characters, whole characters only. */
export function cut(text, length) {
  const letters = Array.from(text.slice(0, 2 * length));
  return letters.length > length || text.length > 2 * length ? `${letters.slice(0, length).join("")} …` : text;
}
