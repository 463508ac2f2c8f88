"""The two peers of `xrt label`: raw click share with one threshold, a vote of labelling functions.

Both see what `xrt label` sees, queries normalised and catalogue closed under ancestors included.
"""

import tempfile
from pathlib import Path

import numpy as np

from xrt.applications.query_intent.catalogue import Catalogue
from xrt.applications.query_intent.clicks.click_features import ClickMatrices, at
from xrt.applications.query_intent.clicks.log import ClickLog
from xrt.applications.query_intent.clicks.partitions import Partitions
from xrt.applications.query_intent.labelling_params import LabellingParams
from xrt.applications.query_intent.words.aliases import NameTable
from xrt.applications.query_intent.words.words import phrases, words_of

Truth = dict[str, set[str]]
Labelled = dict[str, dict[str, float]]


class Peers:
    """Clicks summed by query and value, without correction or smoothing."""

    def __init__(self, clicks: Path, catalogue: Catalogue) -> None:
        self.catalogue, params = catalogue, LabellingParams()
        with tempfile.TemporaryDirectory() as folder:
            partitions = Partitions(Path(folder))
            log = ClickLog(clicks, batch_rows=params.batch_rows, max_count=params.max_count)
            partitions.fill(log, catalogue.items)
            groups = list(partitions.groups(10**9))
        assert len(groups) == 1
        self.queries = groups[0].queries
        matrices = ClickMatrices.of(groups[0].rows, len(self.queries), catalogue, None, params)
        counts = matrices.clicks_QL.tocoo()
        positive = counts.data > 0
        self.query_P, self.label_P = counts.coords[0][positive], counts.coords[1][positive]
        self.share_P = counts.data[positive] / matrices.clicks_Q[self.query_P]
        known_P = at(matrices.clicks_QA, self.query_P, catalogue.attribute_L[self.label_P])
        self.lift_P = counts.data[positive] / known_P / catalogue.prior_L[self.label_P]

    def by_share(self, threshold: float) -> Labelled:
        """(a): values with at least this share of the query's clicks."""
        return self._labelled(self.share_P >= threshold)

    def best_threshold(self, truth: Truth) -> float:
        """The threshold of (a) with the highest micro F1 against the truth itself."""
        grid = np.linspace(0.02, 0.98, 49)
        return float(max(grid, key=lambda t: f1_by_attribute(self.by_share(t), truth)["all"]))

    def by_vote(self, threshold: float) -> Labelled:
        """(b): values that three of four functions vote for: share, lift, named, no rival named."""
        names = NameTable(self.catalogue.names, [[] for _ in self.catalogue.names])
        named_labels: list[set[int]] = []
        for query in self.queries:
            spans = phrases(words_of(query), names.longest)
            named_labels.append({label for *_, g in spans for label in names.labels_of.get(g, ())})
        attribute, related = self.catalogue.attribute_L, self.catalogue.related
        votes_P = (self.share_P > threshold).astype(int) + (self.lift_P > 1)
        for i, (q, label) in enumerate(
            zip(self.query_P.tolist(), self.label_P.tolist(), strict=True)
        ):
            rivals = (
                other
                for other in named_labels[q]
                if other != label
                and attribute[other] == attribute[label]
                and (label, other) not in related
            )
            votes_P[i] += (label in named_labels[q]) + (next(rivals, None) is None)
        return self._labelled(votes_P >= 3)

    def _labelled(self, accepted_P: np.ndarray) -> Labelled:
        labelled: Labelled = {query: {} for query in self.queries}
        for q, label in zip(
            self.query_P[accepted_P].tolist(), self.label_P[accepted_P].tolist(), strict=True
        ):
            labelled[self.queries[q]][self.catalogue.labels[label]] = 1.0
        return labelled


def f1_by_attribute(labelled: Labelled, truth: Truth, threshold: float = 0.5) -> dict[str, float]:
    """Micro F1 over (query, value) pairs: under "all", and under each attribute."""
    hits, predicted_counts, true_counts = ({"all": 0} for _ in range(3))
    for query, weights in labelled.items():
        true = truth[query]
        predicted = {label for label, weight in weights.items() if weight >= threshold}
        for counts, labels in (
            (hits, predicted & true),
            (predicted_counts, predicted),
            (true_counts, true),
        ):
            for label in labels:
                name = label.partition("=")[0]
                counts[name] = counts.get(name, 0) + 1
                counts["all"] += 1
    return {
        name: 2
        * hits.get(name, 0)
        / max(predicted_counts.get(name, 0) + true_counts.get(name, 0), 1)
        for name in sorted({*predicted_counts, *true_counts})
    }
