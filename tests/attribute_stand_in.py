"""A stand-in for a model of attributes: it reads the values off the title, with known scores.

A title such as "nike running shoe 7" holds brand, L1, L0 and a digit; the digit is the confidence.
"""

from dataclasses import dataclass

import numpy as np

from xrt.applications.attributes.catalogue_settings import Reading
from xrt.applications.attributes.data.schema import AttributeSchema
from xrt.applications.attributes.data.space import AttributeSpace, make_value_table

BRANDS = ("nike", "puma", "asics")
PATHS = {"running": "shoe", "court": "shoe", "cap": "hat", "beanie": "hat"}
"""L1 -> L0; a title without a word of these has the path ("hat", none)."""
IDS = sorted(
    [
        *(f"brand={brand}" for brand in (*BRANDS, "<none>")),
        *("L0=shoe", "L0=hat"),
        *(f"L1={name}" for name in (*PATHS, "<none>")),
    ]
)


@dataclass
class StandInPredictions:
    columns_NA: np.ndarray
    probabilities_NA: np.ndarray
    row_probabilities_N: np.ndarray


class StandInPredictor:
    """brand: the first known word of the title, else none; L1 and L0 likewise.

    Values are as probable as the digit in tenths; with a given L0 of another path the L1 is the
    first of that L0, at half the probability.
    """

    def __init__(self, **schema) -> None:
        roles = {"text_columns": ["title"], "numeric_columns": [], "categorical_columns": []}
        targets = ["brand", "L0", "L1"]
        self.schema = AttributeSchema(**roles, targets=targets, hierarchy=["L0", "L1"], **schema)
        self.space = AttributeSpace(tuple(targets), ("L0", "L1"), make_value_table(IDS))
        self.num_rows = 0
        self.reading = Reading()

    def _column(self, id: str) -> int:
        return self.space.labels.index[id]

    def predict(self, table, cells_NA=None):
        self.num_rows += table.num_rows
        rows, scores = [], []
        for n, title in enumerate(table.columns["title"]):
            words = title.split()
            score = int(words[-1]) / 10
            brand = next((word for word in words if word in BRANDS), "<none>")
            l1 = next((word for word in words if word in PATHS), "<none>")
            l0 = PATHS.get(l1, "hat")
            given = None if cells_NA is None else cells_NA[n, 1]
            if given is not None and given >= 0 and self._column(f"L0={l0}") != given:
                l0 = self.space.value(given)
                l1 = next(name for name, above in PATHS.items() if above == l0)
                score /= 2
            rows.append([self._column(f"brand={brand}"), self._column(f"L0={l0}")])
            rows[-1].append(self._column(f"L1={l1}"))
            scores.append([score, score, score])
        columns_NA = np.array(rows, np.int32).reshape(-1, 3)
        scores_NA = np.array(scores, np.float32).reshape(-1, 3)
        return StandInPredictions(columns_NA, scores_NA, scores_NA.prod(axis=1))

    def probability_of(self, table, columns_NA):
        found = self.predict(table)
        same_NA = found.columns_NA == columns_NA
        scores_NA = np.where(same_NA, found.probabilities_NA, (1 - found.probabilities_NA) / 4)
        return np.where(columns_NA < 0, np.nan, scores_NA).astype(np.float32)
