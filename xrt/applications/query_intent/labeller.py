"""The labelling model: how likely a value is meant by a query, trained without manual labels.

Boosted trees over the features of clicks and words, trained on pairs where both agree.
Probabilities are calibrated by isotonic regression on the queries held out of the trees, one in
four. Trees are trained on one thread, so that they do not depend on how many there are.
`train_labeller` learns examination and aliases from a sample of the queries, and trains the model.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from xrt.applications.query_intent.agreement import (
    agreed_values,
    clicks_support,
    rewrite_query,
    verdicts_of,
)
from xrt.applications.query_intent.catalogue import Catalogue
from xrt.applications.query_intent.clicks.click_features import CLICK_FEATURES
from xrt.applications.query_intent.clicks.examination import examination_by_position
from xrt.applications.query_intent.clicks.partitions import QueryGroup
from xrt.applications.query_intent.group_evidence import GroupEvidence, QueryText, QueryValuePairs
from xrt.applications.query_intent.labelling_params import LabellingParams
from xrt.applications.query_intent.words.aliases import NameTable, learn_aliases, learn_from_titles
from xrt.applications.query_intent.words.word_features import Words
from xrt.errors import DataError
from xrt.progress import Progress

_MAX_ITERATIONS = 100
_LEARNING_RATE = 0.1
_MAX_LEAVES = 31
_MIN_LEAF = 40
_MIN_EACH = 20
_HELD_OUT = 4


@dataclass(frozen=True)
class Examples:
    """P judged pairs: features_PF, verdict_P (0 or 1), query_P (all of a query are in one fold),
    weight_P.
    """

    features_PF: np.ndarray
    verdict_P: np.ndarray
    query_P: np.ndarray
    weight_P: np.ndarray

    def joined(self, other: "Examples") -> "Examples":
        """Both, one after the other.

        Args:
            other: Pairs with the same features.

        Returns:
            The pairs of this, then those of `other`.
        """
        return Examples(
            np.concatenate([self.features_PF, other.features_PF]),
            np.concatenate([self.verdict_P, other.verdict_P]),
            np.concatenate([self.query_P, other.query_P]),
            np.concatenate([self.weight_P, other.weight_P]),
        )


class LabellingModel:
    """Probability that a value is meant, for features as in CLICK_FEATURES + WORD_FEATURES."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._trees: Any = None
        self._curve: Any = None
        self._silent_F = np.zeros(0, bool)

    def fit(self, examples: Examples) -> "LabellingModel":
        """Train on judged pairs.

        Args:
            examples: Pairs with verdicts and weights.

        Returns:
            The model itself.

        Raises:
            DataError: Clicks and names agree on too few pairs to learn from.
        """
        from sklearn.isotonic import IsotonicRegression

        true = int(examples.verdict_P.sum())
        if min(true, len(examples.verdict_P) - true) < _MIN_EACH:
            raise DataError(
                f"labelling model: clicks and names agree on {true} true and "
                f"{len(examples.verdict_P) - true} false pairs, {_MIN_EACH} of each are needed; "
                "give more clicks, or names to values",
                settings={"names": "to name values"},
            )
        self._silent_F = np.isnan(examples.features_PF).all(axis=0)
        inside = examples.query_P % _HELD_OUT != 0
        if len(np.unique(examples.verdict_P[inside])) < 2 or inside.all():
            inside = np.arange(len(inside)) % _HELD_OUT != 0
        outside = ~inside
        self._trees = self._train(examples, inside)
        self._curve = IsotonicRegression(y_min=0.001, y_max=0.999, out_of_bounds="clip").fit(
            self._raw(examples.features_PF[outside]),
            examples.verdict_P[outside],
            examples.weight_P[outside],
        )
        return self

    def predict(self, features_PF: np.ndarray) -> np.ndarray:
        """Calibrated probabilities of pairs.

        Args:
            features_PF: float32 (P, F), the features that the model was trained on.

        Returns:
            float64 (P,) in [0.001, 0.999].
        """
        if not len(features_PF):
            return np.zeros(0)
        probabilities_P: np.ndarray = self._curve.predict(self._raw(features_PF))
        return probabilities_P

    def _raw(self, features_PF: np.ndarray) -> np.ndarray:
        with threadpool_limits(1, "openmp"):
            raw_P: np.ndarray = self._trees.predict_proba(self._without_silent(features_PF))[:, 1]
            return raw_P

    def _without_silent(self, features_PF: np.ndarray) -> np.ndarray:
        """Features that no example had (impressions, say) as zeros, which the trees pass over."""
        return np.where(self._silent_F, np.float32(0), features_PF)

    def _train(self, examples: Examples, rows: np.ndarray) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier

        trees = HistGradientBoostingClassifier(
            learning_rate=_LEARNING_RATE,
            max_iter=_MAX_ITERATIONS,
            max_leaf_nodes=_MAX_LEAVES,
            min_samples_leaf=_MIN_LEAF,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=self.seed,
        )
        with threadpool_limits(1, "openmp"):
            return trees.fit(
                self._without_silent(examples.features_PF[rows]),
                examples.verdict_P[rows],
                examples.weight_P[rows],
            )


_NUM_REWRITINGS = 2
_BATCH_QUERIES = 1_000
_SURE = 0.97
_SURE_WEIGHT = 0.5
_MAX_EXAMPLES = 120_000
_SUPPORT_COLUMNS = [CLICK_FEATURES.index(c) for c in ("share_lower", "log_lift_lower", "log_items")]


@dataclass(frozen=True)
class TrainedLabeller:
    """A labelling model with its tables, and counts of its examples for the report."""

    examination: np.ndarray | None
    words: Words
    model: LabellingModel
    num_queries: int
    num_true: int
    num_false: int
    num_sure: int


def train_labeller(
    sample: QueryGroup,
    catalogue: Catalogue,
    params: LabellingParams,
    progress: Progress | None = None,
) -> TrainedLabeller:
    """Learn examination and aliases from the sample, and train the model on them.

    Args:
        sample: The queries to learn from, with their rows.
        catalogue: The catalogue.
        params: Settings of the labelling.
        progress: Shows how many queries were gathered; None shows nothing.

    Returns:
        The model, its tables and counts.

    Raises:
        DataError: Clicks and names agree on too few pairs to learn from.
    """
    examination = examination_by_position(sample.rows)
    evidence = GroupEvidence(sample, catalogue, examination, params)
    titles = learn_from_titles(catalogue, params.max_alias_titles, params.seed)
    clicks = learn_aliases(sample.queries, evidence.share_QL, catalogue)
    forms = titles.forms(len(catalogue.labels))
    words = Words(catalogue, NameTable(catalogue.names, forms), titles, clicks)
    if progress is not None:
        progress.start("gather evidence (queries)", len(sample.queries))
    examples, open_PF, open_query = _examples(evidence, words, forms, params.seed, progress)
    if progress is not None:
        progress.finish()
    model = LabellingModel(params.seed).fit(examples)
    sure = _sure_examples(model, open_PF, open_query)
    num_true = int(examples.verdict_P.sum())
    if len(sure.verdict_P):
        model = LabellingModel(params.seed).fit(examples.joined(sure))
    return TrainedLabeller(
        examination,
        words,
        model,
        len(sample.queries),
        num_true,
        len(examples.verdict_P) - num_true,
        len(sure.verdict_P),
    )


def first_queries(groups: Iterator[QueryGroup], num_queries: int) -> QueryGroup:
    """The first queries of a log, in the order of their CRC: a sample that depends on nothing
    else.

    Args:
        groups: Groups of queries, in the order of `Partitions.groups`.
        num_queries: How many queries to take; all where there are fewer.

    Returns:
        One group of them, without variants.

    Raises:
        DataError: There is no query.
    """
    queries: list[str] = []
    parts: list[pl.DataFrame] = []
    for group in groups:
        room = num_queries - len(queries)
        rows = group.rows.filter(pl.col("query_id") < room)
        parts.append(rows.with_columns(pl.col("query_id") + len(queries)))
        queries += group.queries[:room]
        if len(queries) == num_queries:
            break
    if not queries:
        raise DataError("clicks: no row has a query that is not blank; check its column")
    return QueryGroup(queries, [[] for _ in queries], pl.concat(parts))


def _examples(
    evidence: GroupEvidence,
    words: Words,
    forms: list[list[str]],
    seed: int,
    progress: Progress | None,
) -> tuple[Examples, np.ndarray, np.ndarray]:
    """Judged pairs of queries and of their rewritings; and open pairs with their queries."""
    rng = np.random.default_rng([seed, 1])
    queries = evidence.group.queries
    example_parts: list[tuple[np.ndarray, ...]] = []
    open_parts: list[tuple[np.ndarray, ...]] = []
    for start in range(0, len(queries), _BATCH_QUERIES):
        numbers = range(start, min(start + _BATCH_QUERIES, len(queries)))
        pairs = evidence.pairs([QueryText(q, queries[q], True) for q in numbers], words)
        verdict_P, agreed_spans = _verdicts(pairs, evidence)
        example_parts.append(_at_mask(pairs, verdict_P, verdict_P >= 0))
        open_parts.append(_at_mask(pairs, verdict_P, verdict_P < 0))
        rewritings = [
            (
                q,
                agreed_spans[i],
                rewrite_query(reading, agreed_spans[i], forms, words.names.words, rng),
            )
            for i, (q, reading) in enumerate(zip(numbers, pairs.readings, strict=True))
            for _ in range(_NUM_REWRITINGS)
            if agreed_spans[i]
        ]
        others = evidence.pairs([QueryText(q, text, True) for q, _, text in rewritings], words)
        truth = _carried_over(pairs, verdict_P, others)
        example_parts.append(_at_mask(others, truth, truth >= 0))
        if progress is not None:
            progress.advance(len(numbers))
    features, verdicts, of_query = (
        np.concatenate(some) for some in zip(*example_parts, strict=True)
    )
    some = slice(0, _MAX_EXAMPLES)
    weights = np.ones(len(verdicts))
    examples = Examples(features[some], verdicts[some], of_query[some], weights[some])
    open_PF, _, open_query = (np.concatenate(some) for some in zip(*open_parts, strict=True))
    return examples, open_PF, open_query


def _verdicts(
    pairs: QueryValuePairs, evidence: GroupEvidence
) -> tuple[np.ndarray, list[dict[int, tuple[int, int]]]]:
    """Verdict of each pair, and the agreed values of each text."""
    verdicts, all_spans = [], []
    for reading, part in zip(pairs.readings, pairs.of_text(), strict=True):
        labels = pairs.label_P[part].tolist()
        strong = {
            label
            for label, row in zip(
                labels, pairs.features_PF[part][:, _SUPPORT_COLUMNS].tolist(), strict=True
            )
            if clicks_support(row[0], row[1], np.expm1(row[2]) + 1e-6)
        }
        query = int(pairs.query_P[part.start]) if part.stop > part.start else 0
        agreed_spans = agreed_values(reading, evidence.shares(query), strong, evidence.catalogue)
        verdicts += verdicts_of(reading, agreed_spans, labels, evidence.catalogue)
        all_spans.append(agreed_spans)
    return np.array(verdicts, np.int64), all_spans


def _carried_over(
    pairs: QueryValuePairs, verdict_P: np.ndarray, others: QueryValuePairs
) -> np.ndarray:
    """Verdicts of queries for the pairs of their rewritings; -1 for values only these bring up."""
    verdict_of = {
        (q, label): verdict
        for q, label, verdict in zip(
            pairs.query_P.tolist(), pairs.label_P.tolist(), verdict_P.tolist(), strict=True
        )
    }
    return np.array(
        [
            verdict_of.get(key, -1)
            for key in zip(others.query_P.tolist(), others.label_P.tolist(), strict=True)
        ],
        np.int64,
    )


def _at_mask(
    pairs: QueryValuePairs, verdict_P: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, ...]:
    return pairs.features_PF[mask], verdict_P[mask], pairs.query_P[mask]


def _sure_examples(model: LabellingModel, open_PF: np.ndarray, open_query: np.ndarray) -> Examples:
    """Open pairs that the model is sure of."""
    p = model.predict(open_PF)
    sure = (p >= _SURE) | (p <= 1 - _SURE)
    verdicts = (p[sure] > 0.5).astype(np.int64)
    weights = np.full(len(verdicts), _SURE_WEIGHT)
    return Examples(open_PF[sure], verdicts, open_query[sure], weights)
