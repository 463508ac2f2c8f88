// A model of attributes: a table whose empty cells fill in, doubtful ones marked.

import { Fault, ask, ofModel, told } from "./api.js";
import { inBatches, progressBar } from "./batches.js";
import { format, isTable, readTable } from "./csv.js";
import { announce, count, debounce, download, fill, h, newId, percent, plural, showProblem } from "./dom.js";
import { pager } from "./pages.js";

const MOST_BYTES = 50e6;
const PAGE = 25;
const BATCH = 32;

/** The view of a model of attributes. */
export function fillView(model) {
  const { fields, attributes } = model;
  let columns = [...fields];
  let items = [new Map()];
  let results = [];
  let fileName = "";
  let controller = new AbortController();
  let page = 0;
  let doubt = 0.5;

  const head = h("thead");
  const body = h("tbody");
  const state = h("span", { class: "note" });
  const bar = progressBar("Rows filled", 1);
  const stopButton = h("button", { type: "button", class: "quiet", hidden: true, onclick: () => controller.abort() }, "Stop");
  const save = h("button", { type: "button", disabled: true, onclick: saveAs }, "Download CSV");
  const pages = pager((wanted) => { page = wanted; show(); });
  const file = h("input", { type: "file", class: "visually-hidden", id: "file", accept: ".csv,.tsv,text/csv", onchange: () => { open(file.files[0]); file.value = ""; } });

  const shownFields = () => columns.filter((name) => !attributes.includes(name));
  const itemOf = (item) => Object.fromEntries([...item].filter(([name, cell]) => fields.includes(name) && cell.trim()));

  async function run(places = items.map((_, i) => i)) {
    controller.abort();
    controller = new AbortController();
    const own = controller;
    const isLong = places.length > BATCH;
    bar.hidden = stopButton.hidden = !isLong;
    bar.max = places.length;
    bar.value = 0;
    const done = await told(() =>
      inBatches(places, BATCH, (part, signal) => fillRows(part, signal), own, (number) => {
        bar.value = number;
        showFilled(places);
      }),
    );
    if (own !== controller) return;
    bar.hidden = stopButton.hidden = true;
    if (done) announce(`${plural(places.length, "row")} filled`);
  }

  async function fillRows(places, signal) {
    const asked = places.filter((i) => Object.keys(itemOf(items[i])).length);
    for (const i of places) if (!asked.includes(i)) results[i] = undefined;
    if (!asked.length) return;
    const answer = await ask(ofModel(model.name, "fill"), { body: { items: asked.map((i) => itemOf(items[i])) }, signal });
    answer.results.forEach((result, i) => { results[asked[i]] = result; });
    showProblem(null);
  }

  function show() {
    pages.update(page, Math.ceil(items.length / PAGE));
    fill(
      head,
      h(
        "tr",
        {},
        h("th", { scope: "col" }, "row"),
        shownFields().map((name) => h("th", { scope: "col" }, name)),
        attributes.map((name) => h("th", { scope: "col", class: "filled" }, name)),
      ),
    );
    const low = page * PAGE;
    fill(
      body,
      items.slice(low, low + PAGE).map((item, i) => {
        const row = low + i;
        return h(
          "tr",
          {},
          h("th", { scope: "row", class: "figure" }, count(row + 1)),
          shownFields().map((name) => h("td", {}, fields.includes(name) ? input(item, name, row) : h("span", { class: "block plain" }, item.get(name) ?? ""))),
          attributes.map((name) => h("td", { class: "filled" }, cell(row, name))),
        );
      }),
    );
    tell();
  }

  /** The cells of rows that were filled, in place: what is being typed stays. */
  function showFilled(places) {
    const low = page * PAGE;
    for (const i of places) {
      const line = body.children[i - low];
      if (line) attributes.forEach((name, a) => fill(line.children[1 + shownFields().length + a], cell(i, name)));
    }
    tell();
  }

  function tell() {
    const filled = results.filter(Boolean);
    const unsure = filled.reduce((sum, result) => sum + attributes.filter((name) => isDoubtful(result[name])).length, 0);
    save.disabled = !filled.length;
    state.textContent = filled.length ? `${plural(filled.length, "row")} filled, ${plural(unsure, "doubtful cell")}` : "";
  }

  const isDoubtful = (value) => value !== undefined && value.score < doubt;

  function input(item, name, row) {
    return h("textarea", {
      rows: 1, spellcheck: "false", "aria-label": `${name}, row ${row + 1}`, value: item.get(name) ?? "",
      oninput: (event) => { item.set(name, event.target.value); runRowSoon(row); },
    });
  }

  function cell(row, name) {
    const value = results[row]?.[name];
    const given = (items[row].get(name) ?? "").trim();
    if (value === undefined) return given ? h("span", { class: "block plain" }, given) : h("span", { class: "note" }, "–");
    const doubtful = isDoubtful(value);
    const differs = given && given.toLowerCase() !== (value.value ?? "").toLowerCase();
    return h(
      "div",
      { class: `cell${doubtful ? " doubtful" : ""}`, vars: { "--share": String(value.score) } },
      given ? h("span", { class: "block" }, given) : null,
      differs || !given
        ? h("span", { class: "block" }, differs ? h("span", { class: "note" }, "model: ") : null, value.value ?? h("span", { class: "note" }, "none"))
        : null,
      h("span", { class: "note" }, percent(value.score), doubtful ? " · doubtful" : "", differs ? " · differs" : ""),
    );
  }

  const runRowSoon = debounce((row) => run([row]), 300);

  async function open(chosen) {
    if (!chosen) return;
    await told(async () => {
      if (!isTable(chosen)) throw new Fault(`${chosen.name}: drop a CSV or TSV file with a row of column names`);
      const read = await readTable(chosen, MOST_BYTES);
      if (!read.columns.some((name) => fields.includes(name))) {
        throw new Fault(`${chosen.name} has none of the columns that the model reads (${fields.join(", ")}); name its columns so`);
      }
      showProblem(null);
      ({ columns, items } = read);
      results = [];
      fileName = chosen.name;
      page = 0;
      show();
      await run();
    });
  }

  function saveAs() {
    const own = columns.filter((name) => !attributes.includes(name));
    const header = [...own, ...attributes.flatMap((name) => [name, `${name}_score`])];
    const lines = items.map((item, i) => [
      ...own.map((name) => item.get(name) ?? ""),
      ...attributes.flatMap((name) => {
        const given = (item.get(name) ?? "").trim();
        const value = results[i]?.[name];
        if (given) return [given, ""];
        return value === undefined ? ["", ""] : [value.score < doubt ? "" : (value.value ?? ""), value.score.toFixed(4)];
      }),
    ]);
    download(`${fileName.replace(/\.[^.]*$/, "") || "items"}.filled.csv`, format(header, lines), "text/csv;charset=utf-8");
  }

  const id = newId("doubt");
  const output = h("output", { class: "figure" }, percent(doubt));
  const slider = h("input", {
    id, type: "range", min: 0, max: 1, step: 0.01, value: doubt,
    oninput: () => { doubt = Number(slider.value); output.textContent = percent(doubt); showFilled(items.map((_, i) => i)); },
  });
  const drop = h(
    "div",
    {
      class: "drop",
      ondragover: (event) => { event.preventDefault(); drop.classList.add("over"); },
      ondragleave: (event) => { if (!drop.contains(event.relatedTarget)) drop.classList.remove("over"); },
      ondrop: (event) => { event.preventDefault(); drop.classList.remove("over"); open(event.dataTransfer.files[0]); },
    },
    h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Items and their attributes" }, h("table", { class: "wide grid" }, head, body)),
  );
  const element = h(
    "div",
    { class: "fill" },
    h("div", { class: "line spread head" }, h("h1", {}, "Fill attributes"), h("span", { class: "line" }, state, bar, stopButton, file, h("label", { class: "button quiet", for: "file" }, "Open a CSV"), save)),
    h("p", { class: "note" }, `Type an item, or drop a CSV here. The model reads ${fields.join(", ")} and fills ${attributes.join(", ")}.`),
    drop,
    pages.element,
    h(
      "div",
      { class: "line spread" },
      h("button", { type: "button", class: "quiet", onclick: addRow }, "Add a row"),
      h("div", { class: "control" }, h("div", { class: "line" }, h("label", { for: id }, "Doubtful below"), output), slider, h("span", { class: "note" }, "Doubtful cells stay empty in the download.")),
    ),
  );

  function addRow() {
    items.push(new Map());
    page = Math.floor((items.length - 1) / PAGE);
    show();
    body.lastChild.querySelector("textarea")?.focus();
  }

  bar.hidden = true;
  show();
  return { element, focus: () => body.querySelector("textarea")?.focus(), stop: () => controller.abort() };
}
