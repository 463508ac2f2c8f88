"""README.md of a saved model: what it is, what it was trained on, how good it is, how to use it.

The head is the front matter that model hubs read. The licence is the owner's to choose and is left
out unless given.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from xrt.metrics.comparison import BINS_NOTE, SHOWN, Comparison

_KIND_SENTENCES = {
    "linear": "A tree of sparse linear rankers on TF-IDF features",
    "transformer": "A transformer encoder fine-tuned along a label tree, with linear rankers on "
    "its embeddings and TF-IDF features",
}


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """The facts a card tells; everything comes from the caller, the date (may be empty) included.

    `tree_shape` counts the nodes of each level, the labels last; `num_trees` trees have a shape
    like it. `metrics` holds one column per model compared:
    {"this model": {"P@1": 0.71}, "linear baseline": {"P@1": 0.69}}; `evaluated_on`
    says which rows they were measured on. `verdict` says in a sentence why this kind of model was
    saved, `added` holds both kinds side by side by the rows they were measured on. `calibrated`:
    scores are probabilities, `thresholds` say from which ones on labels are best suggested.
    `judged` is what an application measured, as plain text.
    """

    name: str
    kind: str
    data: str
    num_instances: int
    num_labels: int
    num_features: int
    tree_shape: tuple[int, ...]
    num_trees: int = 1
    metrics: Mapping[str, Mapping[str, float]]
    evaluated_on: str
    versions: Mapping[str, str]
    date: str
    encoder: str | None = None
    languages: tuple[str, ...] = ()
    license: str | None = None
    example: str = "wireless noise-cancelling headphones"
    notes: tuple[str, ...] = field(default=())
    verdict: str = ""
    added: Mapping[str, Comparison] = field(default_factory=dict)
    calibrated: bool = False
    thresholds: Mapping[str, float] = field(default_factory=dict)
    judged: str = ""
    recalls: Mapping[str, tuple[Mapping[str, float], Mapping[str, float]]] = field(
        default_factory=dict
    )
    """Recall of the true labels among the candidates, and candidates of a row, by source, for each
    description of rows."""
    choices: tuple[str, ...] = ()
    """What was chosen on held-out rows in a sentence, then each chosen setting; empty where nothing
    was open to choice."""


def render_model_card(card: ModelCard) -> str:
    """The card as Markdown with YAML front matter.

    Args:
        card: what the card tells.

    Returns:
        Markdown text, with a line end after the last line.
    """
    sections = [
        _front_matter(card),
        f"# {_inline(card.name)}",
        _summary(card),
        "## Data and shape\n\n" + _facts(card),
        *([_choices(card)] if card.choices else []),
        f"## Metrics\n\nMeasured on {_inline(card.evaluated_on)}.\n\n" + _metrics_table(card),
        *([f"## Candidates\n\n{_recalls(card)}"] if card.recalls else []),
        *([f"## In use\n\n```text\n{card.judged.strip()}\n```"] if card.judged else []),
        *([f"## What the encoder added\n\n{_added(card)}"] if card.verdict else []),
        "## Scores\n\n" + _scores(card),
        "## Use\n\n" + _usage(card),
        "## Made with\n\n" + _versions(card),
    ]
    if card.notes:
        sections.append("## Notes\n\n" + "\n".join(f"- {_inline(note)}" for note in card.notes))
    return "\n\n".join(sections) + "\n"


def _front_matter(card: ModelCard) -> str:
    tags = ["xrt", "xr-transformer", "extreme-multi-label-classification", card.kind]
    lines = ["library_name: xrt", "pipeline_tag: text-classification"]
    if card.license:
        lines.append(f"license: {_quoted(card.license)}")
    if card.languages:
        lines += ["language:", *(f"- {_quoted(language)}" for language in card.languages)]
    if card.encoder:
        lines.append(f"base_model: {_quoted(card.encoder)}")
    lines += ["tags:", *(f"- {_quoted(tag)}" for tag in tags)]
    return "\n".join(["---", *lines, "---"])


def _summary(card: ModelCard) -> str:
    return (
        f"{_KIND_SENTENCES.get(card.kind, _inline(card.kind))}: it suggests a few of "
        f"{card.num_labels:,} labels for a text, each with a score."
    )


def _facts(card: ModelCard) -> str:
    facts = {
        "Trained on": _inline(card.data),
        "Training instances": f"{card.num_instances:,}",
        "Labels": f"{card.num_labels:,}",
        "TF-IDF features": f"{card.num_features:,}",
        "Label tree": " → ".join(f"{count:,}" for count in card.tree_shape)
        + f" ({len(card.tree_shape)} level{'s' if len(card.tree_shape) > 1 else ''})"
        + (f", the first of {card.num_trees} trees" if card.num_trees > 1 else ""),
        "Encoder": f"`{_inline(card.encoder)}`" if card.encoder else "none (linear model)",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in facts.items())])


def _choices(card: ModelCard) -> str:
    message, *settings = card.choices
    listed = [f"- `{_inline(setting)}`" for setting in settings]
    text = "\n".join(["## Settings that were chosen", "", f"{_inline(message)}.", "", *listed])
    return text.strip()


def _metrics_table(card: ModelCard) -> str:
    names = list(dict.fromkeys(name for column in card.metrics.values() for name in column))
    lines = [
        "| metric | " + " | ".join(_inline(model) for model in card.metrics) + " |",
        "|---|" + "---:|" * len(card.metrics),
    ]
    for name in names:
        cells = (
            f"{column[name]:.4f}" if name in column else "" for column in card.metrics.values()
        )
        lines.append(f"| {_inline(name)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _recalls(card: ModelCard) -> str:
    lines = [
        "Each source names the labels that it scores best, and every source scores all of these: "
        "recall is the share of a row's true labels among them.",
        "",
        "| rows | source | recall | candidates a row |",
        "|---|---|---:|---:|",
    ]
    lines += [
        f"| {_inline(rows)} | {name} | {recall[name]:.4f} | {per_row[name]:.1f} |"
        for rows, (recall, per_row) in card.recalls.items()
        for name in recall
    ]
    return "\n".join(lines)


def _added(card: ModelCard) -> str:
    """The verdict, then a table by training frequency for each set of rows."""
    parts = [f"{_inline(card.verdict)}."]
    for rows, added in card.added.items():
        lines = [
            f"{SHOWN} on {_inline(rows)}, by how many training rows a label has:\n",
            "| seen in training | labels | pairs | linear | deep | difference |",
            "|---|---:|---:|---:|---:|---:|",
        ]
        lines += [
            f"| {name} | {num_labels:,} | {num_pairs:,} | {linear:.4f} | {deep:.4f} "
            f"| {difference:+.4f} |"
            for name, num_labels, num_pairs, linear, deep, difference in added.rows()
        ]
        parts.append("\n".join(lines))
    if card.added:
        parts.append(BINS_NOTE)
    return "\n\n".join(parts)


def _scores(card: ModelCard) -> str:
    if not card.calibrated:
        return "Scores rank labels; they are not probabilities."
    lines = ["Scores are probabilities, calibrated on training rows that were held out."]
    lines += [
        f'- `min_score="{name}"` leaves out labels that score below {threshold:.3f}, which gave '
        f"the highest {name} on those rows"
        for name, threshold in card.thresholds.items()
    ]
    return "\n".join([lines[0], "", *lines[1:]]) if card.thresholds else lines[0]


def _usage(card: ModelCard) -> str:
    shell_text = card.example.replace("'", "'\\''").replace("\n", " ")
    python_text = json.dumps(card.example, ensure_ascii=False)
    return f"""On the command line:

```sh
echo '{shell_text}' | xrt predict path/to/this/folder - -k 5
```

In Python:

```python
from xrt import Predictor

predictor = Predictor.load("path/to/this/folder")
for suggestion in predictor.predict([{python_text}], k=5)[0]:
    print(f"{{suggestion.score:.2f}}  {{suggestion.label}}  {{suggestion.name}}")
```

Loading checks every file against `manifest.json` and runs no code from this folder."""


def _versions(card: ModelCard) -> str:
    listed = ", ".join(f"{name} {version}" for name, version in card.versions.items())
    return f"{_inline(listed)}; {_inline(card.date)}." if card.date else f"{_inline(listed)}."


def _inline(text: str) -> str:
    """Text that stays inside its table cell and line, and that Markdown does not turn into HTML."""
    one_line = " ".join(text.split())
    return one_line.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=True)
