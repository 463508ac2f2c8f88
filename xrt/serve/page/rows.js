// A table of the rows of a file with their labels.

import { ask, ofModel, told } from "./api.js";
import { inBatches, progressBar } from "./batches.js";
import { format } from "./csv.js";
import { announce, count, cut, debounce, download, fill, h, percent } from "./dom.js";
import { pager } from "./pages.js";

const PAGE = 25;
const BATCH = 32;
const TEXT_COLUMNS = /^(text|title|name|product|content|abstract|description|query|keywords)$/i;

/** The table. `openRow(text)` takes a row to the text field. */
export function rowsTable({ fileName, columns, items, model, settings, openRow, close }) {
  const likely = columns.filter((name) => TEXT_COLUMNS.test(name));
  const chosen = new Set(likely.length ? likely : columns.slice(0, 1));
  let results = new Array(items.length);
  let controller = new AbortController();
  let page = 0;

  const bar = progressBar("Rows done", items.length);
  const state = h("span", { class: "note" });
  const body = h("tbody");
  const save = h("button", { type: "button", onclick: saveAs, disabled: true }, "Download CSV");
  const stopButton = h("button", { type: "button", class: "quiet", onclick: () => controller.abort() }, "Stop");
  const pages = pager((wanted) => { page = wanted; show(); });

  const textOf = (item) => [...chosen].map((name) => item.get(name)).filter((cell) => cell.trim()).join("\n");

  async function run() {
    controller.abort();
    controller = new AbortController();
    const own = controller;
    results = new Array(items.length);
    save.disabled = true;
    stopButton.hidden = false;
    bar.hidden = false;
    bar.value = 0;
    show();
    const places = items.map((_, i) => i);
    const done = await told(() =>
      inBatches(places, BATCH, (part, signal) => suggest(part, signal), own, (number) => {
        bar.value = number;
        state.textContent = `${count(number)} of ${count(items.length)} rows`;
        save.disabled = false;
        show();
      }),
    );
    if (own !== controller) return;
    stopButton.hidden = true;
    bar.hidden = true;
    if (done) announce(`${count(items.length)} rows have their labels`);
  }

  async function suggest(places, signal) {
    const texts = places.map((i) => textOf(items[i]));
    const filled = places.filter((_, i) => texts[i]);
    places.forEach((place, i) => { if (!texts[i]) results[place] = []; });
    if (!filled.length) return;
    const answer = await ask(ofModel(model.name, "predict"), { body: { texts: texts.filter(Boolean), ...settings }, signal });
    answer.results.forEach((result, i) => { results[filled[i]] = result.suggestions; });
  }

  function show() {
    pages.update(page, Math.ceil(items.length / PAGE));
    const low = page * PAGE;
    fill(
      body,
      items.slice(low, low + PAGE).map((item, i) => {
        const text = textOf(item);
        const result = results[low + i];
        return h(
          "tr",
          {},
          h("th", { scope: "row", class: "figure" }, count(low + i + 1)),
          h("td", {}, h("button", { type: "button", class: "text", title: "Open in the text field", onclick: () => openRow(text) }, cut(text, 160) || "no text")),
          h(
            "td",
            {},
            result === undefined
              ? h("span", { class: "note" }, "…")
              : h("ul", { class: "chips" }, result.map((each) => h("li", {}, each.name || each.label, " ", h("span", { class: "figure" }, percent(each.score))))),
          ),
        );
      }),
    );
  }

  function saveAs() {
    const extra = ["labels", "label_names", "scores"];
    const lines = items.map((item, i) => {
      const result = results[i] ?? [];
      const own = columns.map((name) => item.get(name));
      return [...own, result.map((r) => r.label).join("|"), result.map((r) => r.name).join("|"), result.map((r) => r.score.toFixed(4)).join("|")];
    });
    download(fileName.replace(/\.[^.]*$/, "") + ".labels.csv", format([...columns, ...extra], lines), "text/csv;charset=utf-8");
  }

  const runSoon = debounce(run, 400);
  const element = h(
    "section",
    { class: "rows" },
    h(
      "div",
      { class: "line spread" },
      h("h2", { tabindex: "-1" }, fileName),
      h("span", { class: "line" }, state, bar, stopButton, save, h("button", { type: "button", class: "quiet", onclick: close }, "Close")),
    ),
    h(
      "fieldset",
      { class: "line" },
      h("legend", { class: "note" }, "Columns of the text"),
      columns.map((name) =>
        h(
          "label",
          { class: "check" },
          h("input", {
            type: "checkbox", checked: chosen.has(name),
            onchange: (event) => { event.target.checked ? chosen.add(name) : chosen.delete(name); runSoon(); },
          }),
          name,
        ),
      ),
    ),
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "group", "aria-label": "Rows and their labels" },
      h("table", { class: "wide" }, h("thead", {}, h("tr", {}, ["row", "text", "labels"].map((name) => h("th", { scope: "col" }, name)))), body),
    ),
    pages.element,
  );
  run();
  return { element, changed: runSoon, stop: () => controller.abort() };
}
