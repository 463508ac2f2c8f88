import re
from dataclasses import replace

from tests import ROOT
from xrt.metrics.comparison import BINS_NOTE, SHOWN, ComparedBin, Comparison
from xrt.model_card import ModelCard, render_model_card

GOLDEN = ROOT / "tests" / "golden" / "model_card.md"

CARD = ModelCard(
    name="library-subjects",
    kind="transformer",
    data="titles and abstracts of a union catalogue",
    num_instances=41_902,
    num_labels=24_473,
    num_features=150_000,
    tree_shape=(16, 256, 24_473),
    metrics={
        "this model": {"P@1": 0.7123, "R@10": 0.5},
        "linear baseline": {"P@1": 0.6987, "nDCG@5": 0.6},
    },
    evaluated_on="6,980 held-out documents",
    versions={"xrt": "0.1.0", "torch": "2.13.0"},
    date="2026-11-21",
    encoder="sentence-transformers/all-MiniLM-L6-v2",
    languages=("de", "en"),
    calibrated=True,
    thresholds={"micro-F1": 0.21349},
    recalls={
        "2,000 held-out training rows": (
            {"linear": 0.661, "union": 0.8062},
            {"linear": 50.0, "union": 131.2},
        )
    },
    notes=("Labels with fewer than 3 documents are rarely suggested.",),
)


def with_holes(text: str) -> str:
    return re.sub(r"(?<![\w@-])\d[\d.,]*", "<number>", text)


def test_the_card_reads_as_on_file() -> None:
    assert with_holes(render_model_card(CARD)) == with_holes(GOLDEN.read_text())


def test_the_numbers_are_those_given() -> None:
    text = render_model_card(CARD)
    assert "| P@1 | 0.7123 | 0.6987 |" in text
    assert "| R@10 | 0.5000 |  |" in text
    assert "16 → 256 → 24,473 (3 levels)" in text
    assert "41,902" in text
    assert "below 0.213" in text


def test_scores_that_are_not_calibrated_claim_nothing() -> None:
    text = render_model_card(replace(CARD, calibrated=False))
    assert "Scores rank labels; they are not probabilities." in text
    assert "min_score" not in text


def test_a_linear_model_claims_no_encoder_and_a_licence_only_when_given() -> None:
    text = render_model_card(replace(CARD, kind="linear", encoder=None, tree_shape=(24_473,)))
    head, _, body = text.removeprefix("---\n").partition("---\n")
    assert "base_model" not in head
    assert "license" not in head
    assert "none (linear model)" in body
    assert "(1 level)" in body
    assert 'license: "cc0-1.0"\n' in render_model_card(replace(CARD, license="cc0-1.0"))


def test_what_the_encoder_added_is_told_where_it_was_measured() -> None:
    assert "What the encoder added" not in render_model_card(CARD)
    rare = ComparedBin(
        name="2-4", num_labels=1200, num_pairs=3, linear={SHOWN: 0.25}, deep={SHOWN: 0.5}
    )
    added = Comparison(num_rows=9, linear={SHOWN: 0.5}, deep={SHOWN: 0.4}, bins=[rare])
    card = replace(CARD, verdict="Deep | wins", added={"9 held-out rows": added, "tests": added})
    text = render_model_card(card)
    assert "## What the encoder added\n\nDeep \\| wins.\n\nnDCG@10 on 9 held-out rows" in text
    assert text.count("| 2-4 | 1,200 | 3 | 0.2500 | 0.5000 | +0.2500 |") == 2
    assert text.count(BINS_NOTE) == 1
    assert "| all | 1,200 | 3 | 0.5000 | 0.4000 | -0.1000 |" in text


def test_odd_texts_break_neither_table_nor_code_nor_front_matter() -> None:
    card = replace(
        CARD,
        name="<script>alert(1)</script>",
        data="a | b\nc",
        encoder='x"\ninjected: true',
        example='it\'s "quoted"\n```',
    )
    text = render_model_card(card)
    assert "# &lt;script>alert(1)" in text
    assert "| Trained on | a \\| b c |" in text
    assert 'base_model: "x\\"\\ninjected: true"\n' in text
    assert """echo 'it'\\''s "quoted" ```' |""" in text
    assert r'predict(["it\'s' not in text
    assert r'predict(["it' in text


def test_a_card_without_date_ends_with_the_versions():
    text = render_model_card(replace(CARD, date=""))
    assert text.rstrip().endswith(".")
    assert "; ." not in text
