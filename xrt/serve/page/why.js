// Why a label has its score: terms in the text, parts of the score, the path, the nearest rows.

import { bar, count, cut, h, percent, plural } from "./dom.js";

const SHOWN = 1500;
const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
const named = (label) => label.name || label.label;
const inWords = (source) => source.replaceAll("_", " ");

/** The panel of one explained label. */
export function whyPanel(explanation, text) {
  const label = explanation.labels[0];
  const margins = label.margins.filter((margin) => margin.terms.length);
  return h(
    "div",
    { class: "why" },
    label.why_not ? h("p", {}, `Not suggested: ${label.why_not}`) : null,
    explanation.notes.map((note) => h("p", { class: "note" }, note)),
    margins.length ? termsPart(margins, text) : null,
    partsPart(label),
    label.paths.map(pathPart),
    explanation.nearest.map((nearest) => nearestPart(nearest, label.label.label)),
  );
}

function termsPart(margins, text) {
  const terms = margins.flatMap((margin) => margin.terms);
  return h(
    "section",
    {},
    h("h3", {}, "Terms of the text"),
    h("p", { class: "marked", tabindex: "0", role: "group", "aria-label": "The text with its terms marked" }, marked(text, terms)),
    margins.map((margin) =>
      h(
        "ul",
        { class: "chips", "aria-label": `What terms add, ${inWords(margin.source)}` },
        margins.length > 1 ? h("li", { class: "plain-chip" }, inWords(margin.source)) : null,
        margin.terms.slice(0, 12).map((term) =>
          h("li", { class: term.part < 0 ? "against" : "for" }, term.term, " ", h("span", { class: "figure" }, signed(term.part))),
        ),
      ),
    ),
  );
}

/** The text as nodes, with the terms in <mark>: those in favour and those against. */
export function marked(text, terms) {
  const signs = new Map();
  for (const { term, part } of [...terms].sort((a, b) => Math.abs(b.part) - Math.abs(a.part))) {
    const key = normal(term);
    if (key && !signs.has(key)) signs.set(key, part < 0 ? "against" : "for");
  }
  const excerpt = cut(text, SHOWN);
  if (!signs.size) return [excerpt];
  const longestFirst = [...signs.keys()].sort((a, b) => b.length - a.length);
  const words = longestFirst.map((key) => key.split(" ").map(escaped).join("[^\\p{L}\\p{N}]+"));
  const pattern = new RegExp(`(?<![\\p{L}\\p{N}])(?:${words.join("|")})(?![\\p{L}\\p{N}])`, "giu");
  const nodes = [];
  let end = 0;
  for (const match of excerpt.matchAll(pattern)) {
    const sign = signs.get(normal(match[0])) ?? "for";
    nodes.push(excerpt.slice(end, match.index), h("mark", { class: sign }, match[0]));
    end = match.index + match[0].length;
  }
  return [...nodes, excerpt.slice(end)];
}

const normal = (term) => term.toLowerCase().split(/[^\p{L}\p{M}\p{N}]+/u).filter(Boolean).join(" ");
const escaped = (word) => word.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&");

function partsPart(label) {
  const { sources, mean, boosted, calibrated } = label.parts;
  const steps = [];
  if (sources.length > 1) steps.push(["weighted mean", mean]);
  if (boosted !== null) steps.push(["weighed anew with the label's frequency", boosted]);
  if (calibrated !== null) steps.push(["as a probability", calibrated]);
  return h(
    "section",
    {},
    h("h3", {}, "Where the score comes from"),
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "group", "aria-label": "Where the score comes from" },
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, ["source", "score", "weight", "bar"].map((name) => h("th", { scope: "col" }, name === "bar" ? h("span", { class: "visually-hidden" }, name) : name)))),
        h(
          "tbody",
          {},
          sources.map((part) =>
            h(
              "tr",
              {},
              h("th", { scope: "row" }, inWords(part.source), aside(part)),
              h("td", { class: "figure" }, part.score.toFixed(3)),
              h("td", { class: "figure" }, `× ${part.weight.toFixed(2)}`),
              h("td", {}, bar(part.score)),
            ),
          ),
          steps.map(([name, score]) =>
            h(
              "tr",
              { class: "sum" },
              h("th", { scope: "row" }, name),
              h("td", { class: "figure" }, score.toFixed(3)),
              h("td", {}),
              h("td", {}, bar(score)),
            ),
          ),
        ),
      ),
    ),
  );
}

function aside(part) {
  let text = "";
  if (part.voters !== null) text = `${part.voters} of the ${part.num_nearest} nearest rows have it`;
  else if (part.name_words.length) text = `in the text: ${part.name_words.join(", ")}`;
  else if (!part.found) text = "did not name it";
  return text ? h("span", { class: "note block" }, text) : null;
}

function pathPart(path) {
  const which = path.num_trees > 1 ? `, tree ${path.tree} of ${path.num_trees}` : "";
  return h(
    "section",
    {},
    h("h3", {}, `Path through the tree (${inWords(path.source)}${which})`),
    h("ol", { class: "path" }, path.nodes.map(pathNode)),
  );
}

function pathNode(node) {
  const { cluster } = node;
  const place = node.place ? `place ${node.place} of ${node.beam_size}` : "not in the beam";
  const pulled = node.terms.filter((term) => term.part > 0).slice(0, 6).map((term) => term.term);
  return h(
    "li",
    {},
    h("span", { class: "line" }, h("span", {}, cluster ? plural(cluster.num_labels, "label") : "the label itself"), bar(node.fit), h("span", { class: "figure" }, node.fit.toFixed(2))),
    cluster
      ? h("span", { class: "block" }, cluster.labels.map(named).join(", "), cluster.num_labels > cluster.labels.length ? " …" : "")
      : null,
    h("span", { class: "note block" }, place, pulled.length ? `; drawn there by ${pulled.join(", ")}` : ""),
  );
}

function nearestPart(nearest, id) {
  if (!nearest.rows.length) return null;
  return h(
    "section",
    {},
    h("h3", {}, `Nearest training rows (${inWords(nearest.source)})`),
    h(
      "ul",
      { class: "nearest" },
      nearest.rows.map((row) => {
        const has = row.labels.some((label) => label.label === id);
        return h(
          "li",
          { class: has ? "has" : null },
          h("span", { class: "line" }, h("span", {}, row.row === null ? "name of a label" : `row ${count(row.row)}`), bar(row.similarity), h("span", { class: "figure" }, percent(row.similarity))),
          row.text ? h("span", { class: "block" }, cut(row.text, 200)) : null,
          h("span", { class: "note block" }, has ? "has this label: " : "", row.labels.map(named).join(", ") || "no label"),
        );
      }),
    ),
  );
}
