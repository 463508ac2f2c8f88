// Labels for a text while it is typed; for the rows of a file, a table.

import { Latest, ask, ofModel, told } from "./api.js";
import { isTable, readTable, readText } from "./csv.js";
import { decide } from "./decide.js";
import { announce, bar, count, debounce, fill, h, newId, percent, plural, showProblem } from "./dom.js";
import { labelPicker } from "./picker.js";
import { rowsTable } from "./rows.js";
import { whyPanel } from "./why.js";

const MOST_BYTES = 50e6;
const MOST_CHARACTERS = 100000;

/** The view of a model of labels. `model` is its description, `review` whether decisions are kept. */
export function suggestView(model, review) {
  const settings = { k: 10, min_score: 0, tail: 0 };
  const latest = new Latest();
  let decided = new Map(); // id of a label -> accepted, of this text
  let added = []; // labels that somebody added, of this text
  let suggestions = [];
  let asked = ""; // the text that the suggestions are for
  let number = 0; // of the last request
  let table = null;

  const text = h("textarea", {
    id: "text", rows: 9, spellcheck: "false", maxlength: MOST_CHARACTERS,
    placeholder: "Type or paste a text, or drop a file here: .txt for one text, .csv for many.",
    oninput: () => suggestSoon(),
  });
  const file = h("input", { type: "file", class: "visually-hidden", id: "file", accept: ".txt,.csv,.tsv,text/plain,text/csv", onchange: () => { open(file.files[0]); file.value = ""; } });
  const list = h("ol", { class: "suggestions", "aria-label": "Suggested labels" });
  const state = h("p", { class: "note state" });
  const rows = h("div", {});
  const picker = review
    ? labelPicker({ title: "Add a label that is missing", model: () => model.name, isTaken, choose: add })
    : null;
  const suggestSoon = debounce(suggest, 200);

  function isTaken(id) {
    return [...suggestions, ...added].some((each) => each.label === id);
  }

  async function suggest() {
    const now = text.value;
    const own = ++number;
    if (!now.trim()) {
      latest.stop();
      take(now, []);
      return show("");
    }
    state.textContent = "Asking …";
    const start = performance.now();
    const answer = await told(() =>
      latest.run((signal) => ask(ofModel(model.name, "predict"), { body: { texts: [now], ...settings }, signal })),
    );
    if (own !== number) return;
    if (answer === undefined) return void (state.textContent = "");
    showProblem(null);
    take(now, answer.results[0].suggestions);
    const took = Math.max(1, Math.round(performance.now() - start));
    show(suggestions.length ? `${plural(suggestions.length, "label")} · ${took} ms` : "No label scores that high.");
    table?.changed();
  }

  function take(forText, labels) {
    if (forText !== asked) {
      decided = new Map();
      added = [];
    }
    asked = forText;
    suggestions = labels;
  }

  function show(note) {
    state.textContent = note;
    announce(note.split(" · ")[0]);
    const extra = added.filter((each) => !suggestions.some((other) => other.label === each.label));
    fill(list, [...suggestions, ...extra].map((each) => entry(each, extra.includes(each))));
    if (picker) picker.element.hidden = !asked.trim();
    empty.hidden = Boolean(asked.trim());
  }

  function entry(label, isAdded) {
    const name = label.name || label.label;
    const panel = h("div", { id: newId("why"), hidden: true });
    const why = h(
      "button",
      { type: "button", class: "quiet", "aria-expanded": "false", "aria-controls": panel.id, "aria-label": `Why ${name}`, onclick: () => explain(label, panel, why) },
      "Why",
    );
    const element = h("li");
    element.append(
      h(
        "div",
        { class: "entry" },
        h("span", { class: "title" }, h("span", { class: "name" }, name), label.name ? h("span", { class: "id" }, label.label) : null, isAdded ? h("span", { class: "tag" }, "added") : null),
        h("span", { class: "score" }, label.score === undefined ? "" : percent(label.score)),
        label.score === undefined ? h("span", { class: "bar" }) : bar(label.score),
        h("span", { class: "acts" }, why, review ? judges(label, name, element) : null),
      ),
      panel,
    );
    setMark(element, decided.get(label.label));
    return element;
  }

  function judges(label, name, element) {
    return [
      [true, "✓", "Accept"],
      [false, "✕", "Reject"],
    ].map(([accepted, sign, verb]) =>
      h(
        "button",
        { type: "button", class: `judge ${accepted ? "yes" : "no"}`, "aria-pressed": "false", "aria-label": `${verb} ${name}`, title: verb, onclick: () => judge(label, accepted, element) },
        sign,
      ),
    );
  }

  function setMark(element, accepted) {
    element.className = accepted === undefined ? "" : accepted ? "accepted" : "rejected";
    for (const button of element.querySelectorAll(".judge")) {
      button.setAttribute("aria-pressed", String(accepted !== undefined && button.classList.contains("yes") === accepted));
    }
  }

  async function judge(label, accepted, element) {
    const before = decided.get(label.label);
    const now = decided;
    decided.set(label.label, accepted);
    setMark(element, accepted);
    announce(`${label.name || label.label} ${accepted ? "accepted" : "rejected"}`);
    const row = { text: asked, label: label.label, name: label.name || null, accepted, score: label.score ?? null };
    const answer = await told(() => decide(model.name, [row]));
    if (answer !== undefined) return;
    if (before === undefined) now.delete(label.label);
    else now.set(label.label, before);
    if (now === decided) setMark(element, before);
  }

  async function add(match) {
    const forText = asked;
    const label = { ...match };
    const scored = await told(() => ask(ofModel(model.name, "score"), { body: { texts: [forText], labels: [match.label] } }));
    if (forText !== asked) return;
    if (scored) label.score = scored.scores[0][0];
    added.push(label);
    show(state.textContent);
    const elements = list.children;
    await judge(label, true, elements[elements.length - 1]);
  }

  async function explain(label, panel, button) {
    const isOpen = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!isOpen));
    panel.hidden = isOpen;
    if (isOpen || panel.childNodes.length) return;
    fill(panel, h("p", { class: "note" }, "Asking …"));
    const forText = asked;
    const answer = await told(() => ask(ofModel(model.name, "explain"), { body: { text: forText, labels: [label.label] } }));
    if (answer === undefined) {
      panel.replaceChildren();
      panel.hidden = true;
      button.setAttribute("aria-expanded", "false");
      return;
    }
    fill(panel, whyPanel(answer.explanation, forText));
  }

  async function open(chosen) {
    if (!chosen) return;
    await told(async () => {
      if (!isTable(chosen)) {
        text.value = (await readText(chosen, MOST_BYTES)).slice(0, MOST_CHARACTERS);
        return suggest();
      }
      const read = await readTable(chosen, MOST_BYTES);
      showProblem(null);
      table?.stop();
      table = rowsTable({
        fileName: chosen.name, ...read, model, settings,
        openRow: (line) => { text.value = line; suggest(); text.focus(); },
        close: () => { table.stop(); table = null; rows.replaceChildren(); },
      });
      fill(rows, table.element);
      table.element.querySelector("h2").focus();
    });
  }

  function slider(title, name, ends, note) {
    const output = h("output", { class: "figure" });
    const id = newId("slider");
    const input = h("input", {
      id, type: "range", min: 0, max: 1, step: 0.01, value: settings[name], "aria-describedby": `${id}-note`,
      oninput: () => { settings[name] = Number(input.value); tell(); suggestSoon(); },
    });
    const tell = () => { output.textContent = name === "tail" ? settings[name].toFixed(2) : percent(settings[name]); };
    tell();
    const set = (value) => { input.value = value; settings[name] = value; tell(); suggestSoon(); };
    const element = h(
      "div",
      { class: "control" },
      h("div", { class: "line" }, h("label", { for: id }, title), output),
      input,
      h("div", { class: "ends note", id: `${id}-note` }, h("span", {}, ends[0]), note, h("span", {}, ends[1])),
    );
    return { element, set };
  }

  const least = slider("Least score", "min_score", ["all", "sure ones"], null);
  const tail = slider("Head to tail", "tail", ["frequent", "rare first"], null);
  const tuned = Object.entries(model.thresholds ?? {});
  const amount = h("input", {
    id: "k", type: "number", min: 1, max: 50, value: settings.k, inputmode: "numeric",
    onchange: () => { settings.k = Math.max(1, Math.min(50, Math.round(Number(amount.value)) || 10)); amount.value = settings.k; suggest(); },
  });
  const empty = h("p", { class: "empty" }, "Suggestions come as you type.");

  const drop = h(
    "div",
    {
      class: "drop",
      ondragover: (event) => { event.preventDefault(); drop.classList.add("over"); },
      ondragleave: (event) => { if (!drop.contains(event.relatedTarget)) drop.classList.remove("over"); },
      ondrop: (event) => {
        event.preventDefault();
        drop.classList.remove("over");
        const [first] = event.dataTransfer.files;
        if (first) open(first);
        else { text.value = event.dataTransfer.getData("text/plain"); suggest(); }
      },
    },
    text,
  );
  const element = h(
    "div",
    { class: "suggest" },
    h(
      "div",
      { class: "columns" },
      h(
        "section",
        { "aria-labelledby": "text-title" },
        h("h1", { id: "text-title" }, h("label", { for: "text" }, "Text")),
        drop,
        h("p", { class: "line spread" }, h("span", { class: "note" }, `${count(model.labels)} labels · model ${model.version.slice(0, 8)}`), file, h("label", { class: "button quiet", for: "file" }, "Open a file")),
        h(
          "details",
          { class: "settings", open: matchMedia("(min-width: 34.01rem)").matches },
          h("summary", {}, "Settings"),
          h(
            "div",
            { class: "controls" },
            h(
              "div",
              {},
              least.element,
              tuned.length
                ? h("div", { class: "tuned" }, h("span", { class: "note" }, "best on held-out rows for"), tuned.map(([name, value]) => h("button", { type: "button", class: "quiet", onclick: () => least.set(value) }, `${name} ${percent(value)}`)))
                : null,
            ),
            tail.element,
            h("div", { class: "control" }, h("div", { class: "line" }, h("label", { for: "k" }, "Labels at most"), amount)),
          ),
        ),
      ),
      h(
        "section",
        { "aria-labelledby": "labels-title" },
        h("div", { class: "line spread" }, h("h2", { id: "labels-title" }, "Labels"), state),
        empty,
        list,
        picker?.element,
        review ? null : h("p", { class: "note" }, "Decisions are not kept: the server was started without --decisions FILE."),
      ),
    ),
    rows,
  );
  if (picker) picker.element.hidden = true;
  return { element, focus: () => text.focus(), stop: () => { latest.stop(); table?.stop(); } };
}
