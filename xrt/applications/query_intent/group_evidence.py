"""All evidence of a group of queries: its pairs (text, value), and their features.

P pairs (text, value). A text is a query, or a rewriting of one with the same clicks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from xrt.applications.query_intent.catalogue import Catalogue
from xrt.applications.query_intent.clicks.click_features import (
    CLICK_FEATURES,
    ClickMatrices,
    click_features,
    most_clicked,
)
from xrt.applications.query_intent.clicks.partitions import QueryGroup
from xrt.applications.query_intent.labelling_params import LabellingParams
from xrt.applications.query_intent.words.word_features import (
    WORD_FEATURES,
    Reading,
    Words,
    indicated_values,
    read_query,
    word_features,
)

FEATURES = CLICK_FEATURES + WORD_FEATURES


class QueryText(NamedTuple):
    """A text to judge, the query (position in the group) whose clicks it has, and whether the
    aliases were learnt from that query, too.
    """

    query: int
    text: str
    is_known: bool


@dataclass(frozen=True)
class QueryValuePairs:
    """P pairs in the order of the texts: text_P, query_P, label_P, features_PF; and each text's
    reading.
    """

    text_P: np.ndarray
    query_P: np.ndarray
    label_P: np.ndarray
    features_PF: np.ndarray
    readings: list[Reading]

    def of_text(self) -> list[slice]:
        """Where each text's pairs are.

        Returns:
            For each text, in order, the slice of its pairs.
        """
        bounds = np.searchsorted(self.text_P, np.arange(len(self.readings) + 1))
        return [slice(a, b) for a, b in pairwise(bounds)]


class GroupEvidence:
    """A group's clicks, summed; evidence is made of them as often as texts are given."""

    def __init__(
        self,
        group: QueryGroup,
        catalogue: Catalogue,
        examination: np.ndarray | None,
        params: LabellingParams,
    ) -> None:
        self.group, self.catalogue, self.params = group, catalogue, params
        self.matrices = ClickMatrices.of(
            group.rows, len(group.queries), catalogue, examination, params
        )
        full_QL = self.matrices.share_QL(catalogue, params.prior_strength)
        rows, labels = most_clicked(full_QL, catalogue, params.max_values)
        values = np.asarray(full_QL[rows, labels]).ravel() if len(rows) else np.zeros(0)
        self.full_QL = full_QL
        self.share_QL = sp.csr_array((values, (rows, labels)), shape=full_QL.shape)
        self.share_QL.sort_indices()

    def shares(self, query: int) -> dict[int, float]:
        """Smoothed share of the values that are judged for a query.

        Args:
            query: Position of the query in the group.

        Returns:
            Share in (0, 1] by label number.
        """
        part = slice(self.share_QL.indptr[query], self.share_QL.indptr[query + 1])
        values = self.share_QL.data[part].tolist()
        return dict(zip(self.share_QL.indices[part].tolist(), values, strict=True))

    def pairs(self, texts: Sequence[QueryText], tables: Words) -> QueryValuePairs:
        """Evidence for each text and each value that clicks or words bring up.

        Args:
            texts: The T texts to judge.
            tables: Tables that words are looked up in.

        Returns:
            The pairs with features (P, F): those of CLICK_FEATURES, then those of WORD_FEATURES.
        """
        readings, text_ids, queries, labels = [], [], [], []
        word_rows: list[tuple[float, ...]] = []
        for number, text in enumerate(texts):
            share: Mapping[int, float] = self.shares(text.query)
            source_query = self.group.queries[text.query] if text.is_known else ""
            reading = read_query(text.text, share, tables, source_query)
            values = sorted({*share, *indicated_values(reading)})
            readings.append(reading)
            word_rows += word_features(reading, values, share, tables)
            text_ids += [number] * len(values)
            queries += [text.query] * len(values)
            labels += values
        query_P, label_P = np.array(queries, np.int64), np.array(labels, np.int64)
        clicks_PF = click_features(
            self.matrices, self.full_QL, query_P, label_P, self.catalogue, self.params
        )
        words_PF = np.array(word_rows, np.float32).reshape(len(labels), len(WORD_FEATURES))
        features_PF = np.column_stack([clicks_PF, words_PF])
        return QueryValuePairs(
            np.array(text_ids, np.int64), query_P, label_P, features_PF, readings
        )
