"""Which suggestions to trust, learnt from what people decided about earlier ones.

S suggestions, D figures of evidence. A logistic model of the evidence, one for each kind of change.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from xrt.applications.audit.suggestions.suggestion import (
    EVIDENCE_FEATURES,
    SuggestedChange,
    read_lines,
    shown_value,
)
from xrt.errors import DataError

MIN_DECISIONS = 10
"""Decisions of each kind of change, yes and no among them, below which nothing is learnt."""


def read_decisions(path: str | Path) -> dict[str, bool]:
    """Read decisions: JSON lines with `id` and `accepted`.

    `accepted` must be true or false; text such as "false" is refused, since any text would count as
    true. Of two decisions on one suggestion the later counts. Lines of kind "text", about texts
    that were typed into the page of `xrt serve`, are of no corpus and passed over.

    Args:
        path: The file.

    Returns:
        Whether the suggestion was accepted, by its id.

    Raises:
        DataError: A line is something else; file and line are named.
    """
    decisions: dict[str, bool] = {}
    for number, record in read_lines(path):
        if not isinstance(record.get("id"), str) or not isinstance(record.get("accepted"), bool):
            wrong = "id" if not isinstance(record.get("id"), str) else "accepted"
            raise DataError(
                f"{path}: line {number}: {wrong!r} is {shown_value(record.get(wrong))}; write "
                '{"id": "add:12:label", "accepted": true} or false, without quotes'
            )
        if record.get("kind") != "text":
            decisions[record["id"]] = record["accepted"]
    return decisions


def with_trust(
    suggestions: Sequence[SuggestedChange], decisions: dict[str, bool]
) -> tuple[list[SuggestedChange], dict[str, Any]]:
    """The suggestions with the probability that each is right, learnt from decisions.

    A kind with fewer than MIN_DECISIONS, or of which all were decided alike, stays as it is.

    Args:
        suggestions: The suggestions.
        decisions: Whether a suggestion was accepted, by its id.

    Returns:
        The suggestions, the likeliest first within its kind; and a report: for each kind the
        decisions, the number accepted, and the weights.

    Raises:
        DataError: No decision is about any of the suggestions.
    """
    if decisions and not any(s.id in decisions for s in suggestions):
        raise DataError(
            f"none of the {len(decisions)} decisions is about one of the {len(suggestions)} "
            "suggestions; give the decisions on this corpus's suggestions"
        )
    report: dict[str, Any] = {}
    ranked: list[SuggestedChange] = []
    for kind in dict.fromkeys(s.kind for s in suggestions):
        own = [s for s in suggestions if s.kind == kind]
        answers = np.array([decisions[s.id] for s in own if s.id in decisions], bool)
        report[kind] = {"decisions": len(answers), "accepted": int(answers.sum())}
        if len(answers) < MIN_DECISIONS or answers.all() or not answers.any():
            report[kind]["learnt"] = False
            ranked += own
            continue
        features_SD = _features(own)
        is_decided = np.array([s.id in decisions for s in own])
        trust_S, weights = _fit(features_SD[is_decided], answers, features_SD)
        report[kind] |= {"learnt": True, "weights": weights}
        order = np.argsort(-trust_S, kind="stable")
        ranked += [replace(own[i], trust=round(float(trust_S[i]), 5)) for i in order]
    return ranked, report


def _fit(
    known_DD: np.ndarray, answers: np.ndarray, features_SD: np.ndarray
) -> tuple[np.ndarray, dict[str, float]]:
    """Probabilities (S,) by a logistic model over standardised evidence, and its weights."""
    from sklearn.linear_model import LogisticRegression

    mean_D, scale_D = known_DD.mean(axis=0), known_DD.std(axis=0)
    scale_D[scale_D == 0] = 1.0
    model = LogisticRegression(max_iter=1000).fit((known_DD - mean_D) / scale_D, answers)
    trust_S = model.predict_proba((features_SD - mean_D) / scale_D)[:, 1]
    weights = dict(zip(EVIDENCE_FEATURES, np.round(model.coef_[0], 4).tolist(), strict=True))
    return trust_S, weights


def _features(suggestions: Sequence[SuggestedChange]) -> np.ndarray:
    """Evidence as numbers, float64 (S, D); counts as logarithms."""
    features_SD = np.array([[getattr(s, f) for f in EVIDENCE_FEATURES] for s in suggestions], float)
    for name in ("rank", "label_rows"):
        column = EVIDENCE_FEATURES.index(name)
        features_SD[:, column] = np.log1p(features_SD[:, column])
    return features_SD
