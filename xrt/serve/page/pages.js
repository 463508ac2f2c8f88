// Buttons to go through pages of a list.

import { count, fill, h } from "./dom.js";

/** A line with buttons; `show(page)` is called with the number of a page, from 0. */
export function pager(show) {
  const element = h("div", { class: "line pager" });
  function update(page, numPages) {
    element.hidden = numPages < 2;
    fill(
      element,
      h("button", { type: "button", class: "quiet", disabled: page === 0, onclick: () => show(page - 1) }, "Previous page"),
      h("span", { class: "note" }, `page ${count(page + 1)} of ${count(numPages)}`),
      h("button", { type: "button", class: "quiet", disabled: page >= numPages - 1, onclick: () => show(page + 1) }, "Next page"),
    );
  }
  return { element, update };
}
