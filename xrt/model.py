"""A trained model: its parts, how they score together, and how they lie in a folder.

N rows, L labels, F TF-IDF columns, H hidden width. Sources of scores, each in [0, 1]: `linear`, the
trees on TF-IDF alone (one or more); `ranker`, the tree on [TF-IDF ; embedding]; `matcher`, the
encoder's own head, where it was trained down to the labels; `neighbours` and
`embedding_neighbours`, the votes of the training rows with the nearest TF-IDF rows and embeddings.
They are fused by weight, calibrated to probabilities where the model has learnt how, and ranked.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from xrt.data.labels import LabelTable
from xrt.encoder.params import Compute
from xrt.errors import ArtifactError, DataError
from xrt.features.tfidf import TfidfFeatures
from xrt.fusion.calibration import Calibration
from xrt.fusion.frequencies import LabelFrequencies
from xrt.fusion.fusion import Fusion
from xrt.hybrid import HybridMatrix
from xrt.inputs import as_inputs, check_count, check_number, check_rows, check_texts, is_texts
from xrt.progress import Progress
from xrt.search.beam import SearchParams
from xrt.search.constraints import Constraint
from xrt.sources.neighbours import SparseNeighbours
from xrt.sources.trees import CANDIDATES, TreeEnsemble
from xrt.sparse import binarize, normalize_rows, top_k_rows
from xrt.storage.atomic import write_json
from xrt.storage.saved_values import SavedValues

if TYPE_CHECKING:
    from xrt.sources.deep import DeepPart

DEEP_SOURCES = frozenset({"ranker", "matcher", "embedding_neighbours"})
"""Sources that need an embedding."""


@dataclass(frozen=True, eq=False)
class XrtModel:
    """Everything prediction needs. `features` is None for a model of rows instead of texts."""

    labels: LabelTable
    features: TfidfFeatures | None
    linear: TreeEnsemble
    deep: "DeepPart | None" = None
    search: SearchParams = field(default_factory=SearchParams)
    neighbours: SparseNeighbours | None = None
    fusion: Fusion = field(default_factory=lambda: Fusion({"linear": 1.0}))
    """How the sources' scores become one."""
    calibration: Calibration | None = None
    """Makes probabilities of scores; without it scores are only ranks in [0, 1]."""
    frequencies: LabelFrequencies | None = None
    """How often labels were seen; None for a model put together by hand."""

    @property
    def kind(self) -> str:
        """`linear` or `transformer`."""
        return "linear" if self.deep is None else "transformer"

    @property
    def num_features(self) -> int:
        """Sparse columns that rows must have, F."""
        return self.linear.num_features

    def hybrid_rows_of(self, inputs: Any) -> HybridMatrix:
        """Rows as the linear trees take them: those of `rows_of`, or a HybridMatrix whose sparse
        block is brought to length 1 and whose dense block stays as it is.
        """
        if not isinstance(inputs, HybridMatrix):
            rows = self.rows_of(inputs)
            return HybridMatrix(rows, np.zeros((rows.shape[0], 0), np.float32))
        rows = check_rows(inputs, self.num_features)
        return HybridMatrix(normalize_rows(rows.sparse), rows.dense)

    def rows_of(self, inputs: Any) -> sp.csr_array:
        """TF-IDF rows of texts, or given rows brought to length 1: (N, F).

        Raises DataError when the model takes the other kind of input, or an input cannot be used.
        """
        if not is_texts(inputs):
            return normalize_rows(check_rows(inputs, self.num_features))
        texts = check_texts(inputs)
        if self.features is None:
            raise DataError(
                f"this model was trained on rows of {self.num_features} features, not on texts; "
                "pass a matrix of such rows"
            )
        return self.features.transform(texts)

    def embed(
        self,
        texts: Sequence[str],
        progress: Progress | None = None,
        num_threads: int | None = None,
    ) -> np.ndarray:
        """Embeddings as the encoder gives them: float32 (N, H), not of length 1. Raises DataError
        without an encoder, or for rows of features instead of texts.
        """
        if self.deep is None:
            raise DataError("this model is linear and has no encoder")
        if not is_texts(texts):
            raise DataError("this model reads texts, not rows of features; pass a list of texts")
        return self.deep.embed(check_texts(texts), progress, num_threads)

    def sources(
        self,
        inputs: Any,
        embeddings_NH: np.ndarray | None = None,
        num_threads: int | None = None,
        progress: Progress | None = None,
        constraint: Constraint | None = None,
        candidates: int = CANDIDATES,
    ) -> dict[str, sp.csr_array]:
        """Scores of each source whose weight is not 0, at most `candidates` labels a row, only such
        as the constraint lets through: (N, L).

        `embeddings_NH` spares the encoding where embeddings (as the encoder gives them) are at
        hand.
        """
        inputs = as_inputs(inputs)
        X = self.hybrid_rows_of(inputs)
        asked, found = self.fusion.sources, {}
        if "linear" in asked:
            found["linear"] = self.linear.search(
                X, candidates, self.search, num_threads, constraint
            )
        if "neighbours" in asked:
            found["neighbours"] = self._memory().vote(
                X.sparse, candidates, num_threads, constraint=constraint
            )
        if self.deep is None or not asked & DEEP_SOURCES:
            return found
        if embeddings_NH is None:
            embeddings_NH = self.embed(inputs, progress, num_threads)
        elif np.ndim(embeddings_NH) != 2 or len(embeddings_NH) != X.num_rows:
            raise DataError(
                f"embeddings have the shape {np.shape(embeddings_NH)} for {X.num_rows} rows; pass "
                "what `embed` gives"
            )
        return found | self.deep.sources(
            asked, X.sparse, embeddings_NH, self.search, num_threads, constraint, candidates
        )

    def _memory(self) -> SparseNeighbours:
        if self.neighbours is None:
            raise DataError(
                "this model has no neighbours: they had no say when it was trained, or were not "
                "asked for; train it with neighbours, or give their weight to another source"
            )
        return self.neighbours

    def predict(
        self,
        inputs: Any,
        k: int = 5,
        embeddings_NH: np.ndarray | None = None,
        num_threads: int | None = None,
        progress: Progress | None = None,
        constraint: Constraint | None = None,
        tail: float = 0.0,
    ) -> sp.csr_array:
        """The `k` best labels of each text or row: (N, L), scores in [0, 1], higher is better; only
        such as the constraint lets through, where there is one.

        `tail` above 0 favours rare labels: scores are multiplied by `frequencies.tail_weights`.
        `k` above the number of labels gives all that were found. Raises DataError when k is below
        1, `tail` is outside of [0, 1], or the model does not know how often labels were seen.
        """
        k = min(check_count(k, "k"), max(len(self.labels), 1))
        weights_L = self.tail_weights(tail) if check_number(tail, "tail") else None
        reordered = weights_L is not None or (
            self.calibration is not None and self.calibration.reorders
        )
        candidates = max(k, CANDIDATES) if reordered else k
        scores_NL = self._fused(
            inputs, candidates, embeddings_NH, num_threads, progress, constraint
        )
        if self.calibration is not None:
            scores_NL = self.calibration.apply(scores_NL, self._frequencies().counts_L)
        if weights_L is not None:
            scores_NL.data = scores_NL.data * weights_L[scores_NL.indices]
        return top_k_rows(scores_NL, k) if reordered else scores_NL

    def _fused(
        self,
        inputs: Any,
        k: int,
        embeddings_NH: np.ndarray | None,
        num_threads: int | None,
        progress: Progress | None,
        constraint: Constraint | None,
    ) -> sp.csr_array:
        """The `k` labels with the highest fused scores: (N, L), not calibrated."""
        if self.fusion.sources == {"linear"} and self.fusion.booster is None:
            X = self.hybrid_rows_of(inputs)
            return self.linear.search(X, k, self.search, num_threads, constraint)
        candidates = max(k, CANDIDATES)
        found = self.sources(inputs, embeddings_NH, num_threads, progress, constraint, candidates)
        counts_L = None if self.fusion.booster is None else self._frequencies().counts_L
        return self.fusion.scores(found, counts_L, k)

    def tail_weights(self, tail: float) -> np.ndarray:
        """What a label's score is multiplied by at `tail`: float32 (L,) in (0, 1].

        Raises DataError outside of [0, 1], or for a model without label frequencies.
        """
        return self._frequencies().tail_weights(tail)

    def _frequencies(self) -> LabelFrequencies:
        if self.frequencies is None:
            raise DataError("this model does not know how often labels were seen; train it anew")
        return self.frequencies

    def score(
        self,
        inputs: Any,
        columns_A: np.ndarray,
        embeddings_NH: np.ndarray | None = None,
        num_threads: int | None = None,
    ) -> np.ndarray:
        """Scores of given labels for each text or row, however they rank: float32 (N, A), in
        [0, 1]. No beam is narrowed: every source scores every one of the columns.
        """
        columns_A = np.asarray(columns_A, np.int64)
        if not len(columns_A):
            raise DataError("no labels to score; give at least one")
        places = (np.zeros(len(columns_A), np.int64), columns_A)
        ones = np.ones(len(columns_A), np.float32)
        marked = sp.csr_array((ones, places), shape=(1, len(self.labels)))
        constraint = Constraint(binarize(marked), allows=True)
        wide = replace(self, search=replace(self.search, beam_size=len(columns_A)))
        found_NL = wide.predict(
            inputs, len(columns_A), embeddings_NH, num_threads, constraint=constraint
        )
        return np.asarray(found_NL[:, columns_A].toarray(), np.float32)

    def about_scores(self) -> dict[str, Any]:
        """How scores come about, as plain values: the sources' weights, whether boosted trees and
        a calibration follow, and the tuned thresholds.
        """
        calibration = self.calibration
        return {
            "fusion": dict(self.fusion.weights),
            "boosted": self.fusion.booster is not None,
            "calibrated": calibration is not None,
            "thresholds": {} if calibration is None else dict(calibration.thresholds),
        }

    def save(self, folder: Path) -> None:
        """Write the parts into a folder; `xrt.storage.artifact` adds the manifest."""
        folder.mkdir(parents=True, exist_ok=True)
        self.labels.save(folder)
        settings: dict[str, Any] = {"search": asdict(self.search)}
        if self.features is not None:
            self.features.save(folder / "features")
        self.linear.save(folder / "linear")
        if self.deep is not None:
            settings["deep"] = self.deep.save(folder)
        settings["fusion"] = self.fusion.save(folder)
        if self.neighbours is not None:
            self.neighbours.save(folder / "neighbours")
        if self.calibration is not None:
            settings["calibration"] = self.calibration.to_dict()
        if self.frequencies is not None:
            settings["frequencies"] = self.frequencies.save(folder)
        write_json(folder / "model.json", settings)

    @classmethod
    def load(cls, folder: Path, mmap: bool = True, compute: Compute = Compute.auto) -> "XrtModel":
        """Read what `save` wrote; arrays are memory-mapped. `compute` is how an encoder computes.

        Raises ArtifactError when a part is damaged, or parts do not fit together. Hashes are
        checked before, by `open_artifact`; the contents of weights after, by `check`.
        """
        settings = SavedValues.read(folder / "model.json")
        labels, part = LabelTable.load(folder), None
        if settings.has("deep"):
            from xrt.sources.deep import DeepPart  # here, since it brings torch

            part = DeepPart.load(settings.part("deep"), folder, mmap, compute)
        has_features, memory = (folder / "features").is_dir(), folder / "neighbours"
        calibration = frequencies = None
        if settings.has("calibration"):
            calibration = Calibration.from_dict(settings.part("calibration"))
        if settings.has("frequencies"):
            known = settings.part("frequencies")
            frequencies = LabelFrequencies.load(known, folder, len(labels))
        model = cls(
            labels=labels,
            features=TfidfFeatures.load(folder / "features") if has_features else None,
            linear=TreeEnsemble.load(folder / "linear", mmap),
            deep=part,
            search=SearchParams.from_saved(settings.part("search")),
            neighbours=SparseNeighbours.load(memory, mmap) if memory.is_dir() else None,
            fusion=Fusion.load(settings.part("fusion"), folder),
            calibration=calibration,
            frequencies=frequencies,
        )
        if faults := [fault for fault, is_so in model._misfits() if is_so]:
            raise ArtifactError(f"{folder}: {faults[0]}; copy the model again, or train it anew")
        return model

    def check(self, num_threads: int | None = None) -> None:
        """Look at every number that compiled code indexes with, and that all weights are finite; of
        a model that was opened, `load` has looked at pointers, trees and matrices alone.

        Raises ArtifactError when a part is damaged.
        """
        self.labels.check()
        self.linear.check(num_threads)
        if self.deep is not None:
            self.deep.check(num_threads)

    def _misfits(self) -> Iterator[tuple[str, bool]]:
        """How parts of a model may not fit each other, and whether these do not."""
        num_labels, num_features = len(self.labels), self.num_features
        all_trees = [self.linear] if self.deep is None else [self.linear, self.deep.ranker]
        for trees in all_trees:
            shape = trees.tree.num_labels, trees.num_features
            yield "label trees have other labels or columns", shape != (num_labels, num_features)
        if self.features is not None:
            fits = self.features.num_features == num_features
            yield "the vocabulary has other columns than the weights", not fits
        if self.neighbours is not None:
            shape = self.neighbours.Y_NL.shape[1], self.neighbours.postings_FN.shape[0]
            yield "the neighbours have other labels or columns", shape != (num_labels, num_features)
        if self.deep is not None:
            yield "parts of the encoder have other labels", not self.deep.fits(num_labels)
        lacking = self.fusion.sources - self._present()
        yield f"there are no scores of {', '.join(sorted(lacking))} to fuse", bool(lacking)
        if self.frequencies is None:
            yield "calibration without label counts", self.calibration is not None
            yield "boosted trees without label counts", self.fusion.booster is not None

    def _present(self) -> set[str]:
        """The sources of scores that the model has."""
        present = {"linear"} | ({"neighbours"} if self.neighbours is not None else set())
        return present | (self.deep.present if self.deep is not None else set())
