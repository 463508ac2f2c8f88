// A field that finds a label among all of a model's labels while one types.

import { Latest, ask, ofModel, told } from "./api.js";
import { announce, debounce, fill, h, newId, plural } from "./dom.js";

/**
 * The field. `model()` is the model's name now, `isTaken(id)` says whether a label is there already,
 * `choose({label, name})` takes the choice.
 */
export function labelPicker({ title, model, isTaken, choose }) {
  const listId = newId("labels");
  const list = h("ul", { id: listId, role: "listbox", "aria-label": "Labels that fit", hidden: true });
  const input = h("input", {
    type: "text", role: "combobox", autocomplete: "off", spellcheck: "false", maxlength: 200,
    placeholder: "Name or id …", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": listId,
    oninput: () => (input.value.trim() ? search() : close()),
    onkeydown: onKey,
    onfocus: () => input.value.trim() && search(),
    onblur: () => close(),
  });
  const latest = new Latest();
  let labels = [];
  let active = -1;

  const search = debounce(() => {
    const query = input.value.trim();
    if (!query || document.activeElement !== input) return;
    told(async () => {
      const path = `${ofModel(model(), "labels")}?limit=20&q=${encodeURIComponent(query)}`;
      const answer = await latest.run((signal) => ask(path, { signal }));
      if (answer !== undefined) show(answer);
    });
  }, 120);

  function show({ labels: matches, more }) {
    labels = matches;
    fill(list, matches.map((match, i) => option(match, i)));
    if (!matches.length) list.append(h("li", { class: "note", role: "presentation" }, "No label has this in its name or id."));
    if (more) list.append(h("li", { class: "note", role: "presentation" }, "There are more: type on."));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    announce(matches.length ? `${more ? "More than " : ""}${plural(matches.length, "label")}` : "No label");
    activate(-1);
  }

  function option({ label, name }, i) {
    const taken = isTaken(label);
    return h(
      "li",
      {
        id: `${listId}-${i}`, role: "option", "aria-selected": "false", "aria-disabled": taken ? "true" : null,
        onmousedown: (event) => event.preventDefault(),
        onclick: () => pick(i),
      },
      h("span", { class: "name" }, name || label),
      name ? h("span", { class: "id" }, label) : null,
      taken ? h("span", { class: "note" }, "in the list") : null,
    );
  }

  function activate(i) {
    active = i;
    labels.forEach((_, j) => list.children[j].setAttribute("aria-selected", String(j === i)));
    if (i < 0) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", `${listId}-${i}`);
    list.children[i].scrollIntoView({ block: "nearest" });
  }

  function onKey(event) {
    const last = labels.length - 1;
    if (event.key === "Escape" && !list.hidden) {
      event.preventDefault();
      event.stopPropagation();
      close();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) return void (input.value.trim() && search());
      if (last >= 0) activate(event.key === "ArrowDown" ? (active >= last ? 0 : active + 1) : active <= 0 ? last : active - 1);
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (!list.hidden && last >= 0) pick(Math.max(active, 0));
    }
  }

  function pick(i) {
    const match = labels[i];
    if (isTaken(match.label)) return announce(`${match.name || match.label} is in the list already`);
    input.value = "";
    close();
    choose(match);
  }

  function close() {
    latest.stop();
    list.hidden = true;
    labels = [];
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  const element = h("div", { class: "picker" }, h("label", { class: "field" }, title, input), list);
  return { element, focus: () => input.focus() };
}
