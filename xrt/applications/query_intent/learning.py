"""Trains the labelling model on a sample of the queries, with examination and aliases."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from xrt.applications.query_intent.agreement import (
    agreed_values,
    clicks_support,
    rewrite_query,
    verdicts_of,
)
from xrt.applications.query_intent.catalogue import Catalogue
from xrt.applications.query_intent.clicks.evidence import CLICK_FEATURES
from xrt.applications.query_intent.clicks.examination import examination_by_position
from xrt.applications.query_intent.clicks.partitions import QueryGroup
from xrt.applications.query_intent.evidence import GroupEvidence, QueryText, QueryValuePairs
from xrt.applications.query_intent.labelling_model import Examples, LabellingModel
from xrt.applications.query_intent.params import LabellingParams
from xrt.applications.query_intent.words.aliases import NameTable, learn_aliases, learn_from_titles
from xrt.applications.query_intent.words.evidence import Words
from xrt.errors import DataError
from xrt.progress import Progress

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
    """Learn examination and aliases from the sample, and train the model on them."""
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
