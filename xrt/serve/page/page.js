// The shell: models, views, the key.

import { ask, forgetKey, hasKey, told } from "./api.js";
import { byId, count, fill, h, showProblem } from "./dom.js";
import { fillView } from "./fill.js";
import { reviewView } from "./review.js";
import { suggestView } from "./suggest.js";

let models = [];
let review = { decisions: false, queue: null };
let shown = null;

const viewsOf = (model) => [
  model.kind === "attributes" ? ["fill", "Fill"] : ["suggest", "Suggest"],
  ...(review.queue ? [["review", "Review"]] : []),
];

/** The view and the model that the address names behind its #, as in #review/name. */
function wanted() {
  const [view, name = ""] = location.hash.slice(1).split("/");
  let model = models[0];
  try {
    model = models.find((each) => each.name === decodeURIComponent(name)) ?? model;
  } catch {
    // a % that encodes nothing: the first model
  }
  const views = viewsOf(model);
  return { model, views, view: views.some(([each]) => each === view) ? view : views[0][0] };
}

const addressOf = (view, model) => `#${view}${models.length > 1 ? `/${encodeURIComponent(model.name)}` : ""}`;

function show(focus) {
  if (!models.length) return;
  const { model, views, view } = wanted();
  byId("model").value = model.name;
  fill(
    byId("views"),
    views.map(([name, title]) =>
      h("a", { href: addressOf(name, model), "aria-current": name === view ? "page" : null }, title, name === "review" ? h("span", { class: "tag" }, count(review.queue.total - review.queue.decided), h("span", { class: "visually-hidden" }, " undecided")) : null),
    ),
  );
  document.title = `${views.find(([name]) => name === view)[1]} · ${model.name} · xrt`;
  showProblem(null);
  shown?.stop();
  const make = { suggest: () => suggestView(model, review.decisions), review: () => reviewView(model, review), fill: () => fillView(model) };
  shown = make[view]();
  fill(byId("main"), shown.element);
  if (focus) shown.focus();
}

async function start() {
  const list = await ask("v1/models");
  review = await ask("v1/review");
  ({ models } = list);
  fill(byId("model"), models.map((model) => h("option", { value: model.name }, model.name)));
  byId("model-choice").hidden = models.length < 2;
  byId("forget-key").hidden = !hasKey();
  show(false);
}

byId("model").addEventListener("change", (event) => {
  const model = models.find((each) => each.name === event.target.value);
  location.hash = addressOf(wanted().view, model);
});
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
});
byId("forget-key").addEventListener("click", () => {
  forgetKey();
  location.reload();
});
window.addEventListener("hashchange", async () => {
  const state = await told(() => ask("v1/review"));
  if (state) review = state;
  show(document.activeElement !== byId("model"));
});
// a file that is dropped beside the field must not replace the page
for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());

told(start);
