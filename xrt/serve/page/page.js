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

const chosen = () => models.find((model) => model.name === byId("model").value) ?? models[0];

function show(focus) {
  const model = chosen();
  if (!model) return;
  const views = viewsOf(model);
  const [wanted] = location.hash.slice(1).split("/");
  const view = views.some(([name]) => name === wanted) ? wanted : views[0][0];
  fill(
    byId("views"),
    views.map(([name, title]) =>
      h("a", { href: `#${name}`, "aria-current": name === view ? "page" : null }, title, name === "review" ? h("span", { class: "tag" }, count(review.queue.total - review.queue.decided)) : null),
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
  const [list, state] = await Promise.all([ask("v1/models"), ask("v1/review")]);
  ({ models } = list);
  review = state;
  const select = byId("model");
  fill(select, models.map((model) => h("option", { value: model.name }, model.name)));
  byId("model-choice").hidden = models.length < 2;
  byId("forget-key").hidden = !hasKey();
  const wanted = location.hash.split("/")[1];
  if (wanted && models.some((model) => model.name === decodeURIComponent(wanted))) select.value = decodeURIComponent(wanted);
  show(false);
}

byId("model").addEventListener("change", () => show(false));
byId("forget-key").addEventListener("click", () => {
  forgetKey();
  location.reload();
});
window.addEventListener("hashchange", async () => {
  const state = await told(() => ask("v1/review"));
  if (state) review = state;
  show(true);
});
// a file that is dropped beside the field must not replace the page
for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());

told(start);
