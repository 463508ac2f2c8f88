// The queue of an audit: one suggestion after the other, by mouse or by keyboard.

import { ask, ofModel, told } from "./api.js";
import { decide, settled } from "./decide.js";
import { announce, bar, byId, count, fill, h, percent } from "./dom.js";
import { labelPicker } from "./picker.js";
import { marked } from "./why.js";

const PAGE = 50;
const KEYS = "xrt-shortcuts";

/** The view of the queue. `review` says whether decisions are kept. */
export function reviewView(model, review) {
  const filter = { undecided: true, kind: "" };
  let rows = [];
  let place = 0; // of the row that is shown, in `rows`
  let next = null;
  let totals = review.queue;
  let loading = false;
  let additions = []; // labels that somebody added to the row that is shown
  let shortcuts = localStorage.getItem(KEYS) !== "off";

  const meter = h("progress", { max: 1, value: 0, "aria-label": "Suggestions decided" });
  const state = h("span", { class: "note" });
  const list = h("ol", { class: "queue", "aria-label": "Suggestions of this page" });
  const card = h("section", { class: "card", "aria-live": "off" });
  const pageButtons = h("div", { class: "line pager" });
  const jump = h("input", {
    type: "number", min: 1, inputmode: "numeric", "aria-label": "Go to suggestion", placeholder: "no.",
    onchange: () => { const at = Number(jump.value); jump.value = ""; if (at >= 1) load({ after: Math.round(at) - 1 }); },
  });
  const picker = review.decisions
    ? labelPicker({
        title: "Add another label that this row lacks", model: () => model.name,
        isTaken: (id) => additions.some((each) => each.label === id), choose: add,
      })
    : null;

  async function load({ after = null, before = null, atEnd = false }) {
    const query = new URLSearchParams({ limit: PAGE });
    if (before === null) query.set("after", after ?? 0);
    else query.set("before", before);
    if (filter.undecided) query.set("undecided", "true");
    if (filter.kind) query.set("kind", filter.kind);
    loading = true;
    const answer = await told(async () => {
      await settled(); // what was just decided must not come again
      return ask(`${ofModel(model.name, "queue")}?${query}`);
    });
    loading = false;
    if (answer === undefined) return false;
    if (!answer.rows.length && before !== null) return false;
    ({ rows, next } = answer);
    totals = answer;
    place = atEnd ? rows.length - 1 : 0;
    show();
    return true;
  }

  function show() {
    meter.max = Math.max(1, totals.total);
    meter.value = totals.decided;
    state.textContent = `${count(totals.decided)} of ${count(totals.total)} decided`;
    fill(list, rows.map(line));
    fill(
      pageButtons,
      h("button", { type: "button", class: "quiet", disabled: !rows.length || rows[0].position === 0, onclick: () => load({ before: rows[0].position }) }, "Earlier"),
      h("button", { type: "button", class: "quiet", disabled: next === null, onclick: () => load({ after: next }) }, "Later"),
    );
    showCard();
  }

  function line(row, i) {
    return h(
      "li",
      {},
      h(
        "button",
        { type: "button", class: "text", "aria-current": i === place ? "true" : null, onclick: () => go(i) },
        h("span", { class: `sign ${row.kind}`, "aria-hidden": "true" }, row.kind === "add" ? "+" : "−"),
        h("span", { class: "name" }, h("span", { class: "visually-hidden" }, row.kind === "add" ? "add " : "remove "), row.name || row.label),
        h("span", { class: "note" }, mark(row)),
      ),
    );
  }

  function mark(row) {
    if (row.accepted === null) return "";
    return row.accepted ? "✓ accepted" : "✕ rejected";
  }

  function go(i) {
    place = i;
    additions = [];
    for (const [j, item] of [...list.children].entries()) {
      item.firstChild.toggleAttribute("aria-current", false);
      if (j === i) item.firstChild.setAttribute("aria-current", "true");
    }
    list.children[i]?.scrollIntoView({ block: "nearest" });
    showCard();
  }

  async function step(by) {
    if (!rows.length || loading) return;
    const wanted = place + by;
    if (wanted >= 0 && wanted < rows.length) return go(wanted);
    if (by > 0) {
      const end = rows[rows.length - 1].position + 1;
      if (next !== null) return void load({ after: end });
      if (filter.undecided && rows.some((row) => row.accepted === null)) return announce("This is the last one; some before it are undecided");
      if (filter.undecided) return void load({ after: 0 });
      return announce("This is the last one");
    }
    if (!(rows[0].position > 0 && (await load({ before: rows[0].position, atEnd: true })))) announce("This is the first one");
  }

  function showCard() {
    if (!rows.length) {
      const all = totals.total === 0 ? "The queue is empty: the audit suggested nothing." : filter.undecided || filter.kind ? "Nothing is left with this filter." : "There are no more suggestions.";
      return void fill(card, h("p", { class: "empty" }, all));
    }
    const row = rows[place];
    const adds = row.kind === "add";
    const name = row.name || row.label;
    fill(
      card,
      h("p", { class: "note line spread" }, h("span", {}, `Suggestion ${count(row.position + 1)} of ${count(totals.total)}`), h("span", {}, row.uid ? `row ${row.uid}` : `row ${count(row.row)}`)),
      h("h2", { tabindex: "-1", id: "question" }, adds ? "Does this text lack " : "Is this label wrong: ", h("strong", { class: adds ? "add" : "remove" }, name), "?"),
      row.name ? h("p", { class: "id" }, row.label) : null,
      h("blockquote", {}, row.text === null || row.text === undefined ? h("span", { class: "note" }, "The corpus has no texts.") : marked(row.text, (row.matched_terms ?? []).map((term) => ({ term, part: 1 })))),
      evidence(row, adds),
      review.decisions
        ? h(
            "div",
            { class: "actions" },
            button("a", true, adds ? "Yes, add it" : "Yes, remove it", row),
            button("r", false, adds ? "No, leave it out" : "No, keep it", row),
          )
        : h("p", { class: "note" }, "Decisions are not kept: the server was started without --decisions FILE."),
      h(
        "div",
        { class: "line spread" },
        h("button", { type: "button", class: "quiet", onclick: () => step(-1) }, "Previous"),
        h("button", { type: "button", class: "quiet", onclick: () => step(1) }, "Next"),
      ),
      additions.length ? h("ul", { class: "chips", "aria-label": "Added to this row" }, additions.map((each) => h("li", { class: "for" }, `✓ ${each.name || each.label}`))) : null,
      picker?.element,
    );
  }

  function button(key, accepted, title, row) {
    return h(
      "button",
      {
        type: "button", class: `judge big ${accepted ? "yes" : "no"}`, "aria-pressed": String(row.accepted === accepted),
        "aria-keyshortcuts": shortcuts ? key : null, onclick: () => judge(accepted),
      },
      h("span", { "aria-hidden": "true" }, accepted ? "✓ " : "✕ "), title, shortcuts ? h("kbd", { "aria-hidden": "true" }, key.toUpperCase()) : null,
    );
  }

  function evidence(row, adds) {
    const lines = [];
    const has = (value) => typeof value === "number";
    if (has(row.probability)) {
      const mark = has(row.threshold) ? row.threshold : null;
      lines.push(["probability", bar(row.probability, mark), percent(row.probability), mark === null ? "" : `expected from ${percent(mark)} on`]);
    }
    if (has(row.agreement)) lines.push(["similar rows", bar(row.agreement), percent(row.agreement), "of their vote is for it"]);
    if (has(row.name_in_text)) lines.push(["its name", bar(row.name_in_text), percent(row.name_in_text), "of it stands in the text"]);
    if (has(row.trust)) lines.push(["trust", bar(row.trust), percent(row.trust), "by earlier decisions"]);
    const neighbours = (row.neighbours ?? []).filter((each) => each && typeof each === "object");
    const facts = [];
    if (neighbours.length) facts.push(`${neighbours.filter((each) => each.has_label).length} of the ${neighbours.length} nearest rows have it`);
    if (has(row.label_rows)) facts.push(`seen in ${count(row.label_rows)} other rows`);
    if (has(row.rank)) facts.push(`rank ${count(row.rank)} among the labels of this text`);
    return h(
      "div",
      { class: "evidence" },
      h("table", {}, h("caption", { class: "visually-hidden" }, adds ? "Why it may be missing" : "Why it may be wrong"), h("tbody", {}, lines.map(([name, figure, value, note]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", { class: "grow" }, figure), h("td", { class: "figure" }, value), h("td", { class: "note" }, note))))),
      facts.length ? h("p", { class: "note" }, facts.join(" · ")) : null,
    );
  }

  async function judge(accepted) {
    const row = rows[place];
    if (!row || !review.decisions || loading) return;
    const before = row.accepted;
    setAccepted(row, accepted);
    announce(`${accepted ? "Accepted" : "Rejected"}: ${row.name || row.label}`);
    const { id, kind, corpus, uid, label, name } = row;
    const sent = told(() => decide(model.name, [{ id, kind, corpus, row: row.row, uid, label, name: name || null, accepted }]));
    await step(1);
    if ((await sent) === undefined) {
      setAccepted(row, before);
      if (rows[place] === row) showCard();
    }
  }

  function setAccepted(row, accepted) {
    totals.decided += (accepted === null ? 0 : 1) - (row.accepted === null ? 0 : 1);
    row.accepted = accepted;
    meter.value = totals.decided;
    state.textContent = `${count(totals.decided)} of ${count(totals.total)} decided`;
    const item = list.children[rows.indexOf(row)];
    if (item) item.firstChild.lastChild.textContent = mark(row);
  }

  async function add(match) {
    const row = rows[place];
    const decision = { id: `add:${row.row}:${match.label}`, kind: "add", corpus: row.corpus, row: row.row, uid: row.uid, label: match.label, name: match.name || null, accepted: true };
    const answer = await told(() => decide(model.name, [decision]));
    if (answer === undefined || rows[place] !== row) return;
    additions.push(match);
    announce(`${match.name || match.label} is added to the row`);
    showCard();
    picker.focus();
  }

  function onKey(event) {
    if (!shortcuts || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target.closest("input, select, textarea, dialog")) return;
    const work = {
      j: () => step(1), ArrowRight: () => step(1), k: () => step(-1), ArrowLeft: () => step(-1),
      a: () => judge(true), r: () => judge(false), "/": () => picker?.focus(),
    }[event.key];
    if (!work) return;
    event.preventDefault();
    if (event.repeat && (event.key === "a" || event.key === "r")) return;
    work();
  }
  document.addEventListener("keydown", onKey);

  const choice = (name, options, change) =>
    h("label", { class: "inline" }, name, " ", h("select", { onchange: (event) => { change(event.target.value); load({ after: 0 }); } }, options.map(([value, title]) => h("option", { value }, title))));
  const hint = h("p", { class: "note keys" }, [["A", "accept"], ["R", "reject"], ["J", "next"], ["K", "previous"], ["/", "add a label"]].map(([key, what]) => h("span", {}, h("kbd", {}, key), ` ${what}`)));
  const element = h(
    "div",
    { class: "review" },
    h(
      "div",
      { class: "line spread head" },
      h("h1", {}, "Review"),
      h("span", { class: "line grow" }, meter, state),
      h(
        "span",
        { class: "line" },
        choice("Show", [["undecided", "undecided"], ["all", "all"]], (value) => { filter.undecided = value === "undecided"; }),
        choice("Kind", [["", "both"], ["add", "missing labels"], ["remove", "wrong labels"]], (value) => { filter.kind = value; }),
      ),
    ),
    h(
      "div",
      { class: "columns queue-columns" },
      h("nav", { class: "side", "aria-label": "Queue" }, list, h("div", { class: "line spread" }, pageButtons, h("span", { class: "inline" }, h("span", { "aria-hidden": "true" }, "Go to"), jump))),
      h("div", {}, card),
    ),
    h(
      "div",
      { class: "line spread" },
      hint,
      h("label", { class: "check note" }, h("input", { type: "checkbox", checked: shortcuts, onchange: (event) => { shortcuts = event.target.checked; localStorage.setItem(KEYS, shortcuts ? "on" : "off"); hint.hidden = !shortcuts; showCard(); } }), "Keyboard shortcuts"),
    ),
  );
  hint.hidden = !shortcuts;
  load({ after: 0 });
  return { element, focus: () => byId("main").focus(), stop: () => document.removeEventListener("keydown", onKey) };
}
