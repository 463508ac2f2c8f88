"""The rows of attributes.py: texts of a catalogue's items as xrt makes them, TF-IDF of words and
characters, one label for each attribute. N rows, A attributes, L labels.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from xrt.applications.attributes.data.corpus import read_attributes
from xrt.applications.attributes.data.schema import AttributeSchema
from xrt.applications.attributes.data.space import AttributeSpace
from xrt.features.tfidf import TfidfFeatures
from xrt.features.tfidf_params import TfidfParams

WORDS_AND_CHARACTERS = TfidfParams(char_ngrams=(3, 5))


@dataclass(frozen=True, eq=False)
class CatalogueRows:
    """Texts and labels of both splits; columns from `num_known` on are values that only tst has."""

    texts_trn: list[str]
    texts_tst: list[str]
    Y_trn: sp.csr_array
    space: AttributeSpace
    space_tst: AttributeSpace
    given_trn: np.ndarray
    given_tst: np.ndarray

    @classmethod
    def read(cls, trn: Path, tst: Path, schema: AttributeSchema) -> "CatalogueRows":
        """Read both files; the roles of the columns are those of training."""
        corpus, space, item_texts = read_attributes(trn, schema)
        other, space_tst, _ = read_attributes(tst, labels=space.labels, item_texts=item_texts)
        return cls(
            *(list(corpus.texts or ()), list(other.texts or ()), corpus.Y, space, space_tst),
            *(space.given_NA(corpus.Y), space_tst.given_NA(other.Y)),
        )

    @property
    def num_known(self) -> int:
        """Labels of training, L."""
        return len(self.space.labels)

    @property
    def counts_L(self) -> np.ndarray:
        """Training rows of each label."""
        return np.bincount(self.Y_trn.indices, minlength=self.num_known)

    def write(self, folder: Path, params: TfidfParams = WORDS_AND_CHARACTERS) -> tuple[int, int]:
        """Write what a peer reads; returns the shape of the TF-IDF rows of training."""
        features = TfidfFeatures(params)
        X_trn = features.fit_transform(self.texts_trn)
        X_tst = features.transform(self.texts_tst)
        for name, matrix in (("X_trn", X_trn), ("X_tst", X_tst), ("Y_trn", self.Y_trn)):
            sp.save_npz(folder / f"{name}.npz", sp.csr_matrix(matrix), compressed=False)
        np.save(folder / "given_trn.npy", self.given_trn)
        np.save(folder / "attribute_of_L.npy", self.space.attribute_of_L)
        return X_trn.shape
