"""A trained model: its parts, how they score together, and how they lie in a folder.

N rows, L labels, F TF-IDF columns, M columns of embeddings. Features and an encoder make rows of
texts, sources give labels scores in [0, 1], fusion makes one score of theirs, calibration makes it
a probability where the model has learnt how, and labels are ranked. What sources there are:
`xrt.sources.registry`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import scipy.sparse as sp

from xrt.data.labels import LabelTable
from xrt.encoder.params import Compute
from xrt.errors import ArtifactError, DataError
from xrt.features.tfidf import TfidfFeatures
from xrt.fusion.calibration import Calibration
from xrt.fusion.candidates import Candidates, complete_scores, name_candidates
from xrt.fusion.frequencies import LabelFrequencies
from xrt.fusion.fusion import Fusion
from xrt.hybrid import HybridMatrix
from xrt.inputs import as_inputs, check_count, check_number, check_rows, check_texts, is_texts
from xrt.progress import Progress
from xrt.search.beam import SearchParams
from xrt.search.constraints import Constraint
from xrt.sources.base import CANDIDATES, ModelShape, Source, SourceRows
from xrt.sources.faiss_index import VectorIndex
from xrt.sources.registry import BASELINE, SOURCES
from xrt.sources.trees import TreeEnsemble
from xrt.sparse import as_csr, normalize_rows, top_k_rows
from xrt.storage.atomic import write_json
from xrt.storage.saved_values import SavedValues

if TYPE_CHECKING:
    from xrt.model_encoder import ModelEncoder

S = TypeVar("S", bound=Source)
WatchCandidates = Callable[[Candidates, int], None]
"""Is shown the candidates of a block of rows, and which row is the first of them."""
ROWS_AT_ONCE = 4096
"""Rows whose candidates are in memory together, with what fusion looks at: about 20 KB a row."""


@dataclass(frozen=True, eq=False)
class XrtModel:
    """Everything prediction needs."""

    labels: LabelTable
    features: TfidfFeatures | None
    """What makes TF-IDF rows of texts; None for a model of rows instead of texts."""
    sources: Mapping[str, Source]
    """The sources of scores by their names, as `by_name` gives them."""
    encoder: "ModelEncoder | None" = None
    """None for a linear model."""
    search: SearchParams = field(default_factory=SearchParams)
    fusion: Fusion = field(default_factory=lambda: Fusion({BASELINE: 1.0}))
    """How the sources' scores become one."""
    calibration: Calibration | None = None
    """Makes probabilities of scores; without it scores are only ranks in [0, 1]."""
    frequencies: LabelFrequencies | None = None
    """How often labels were seen; None for a model put together by hand."""

    @property
    def kind(self) -> str:
        """`linear` or `transformer`."""
        return "linear" if self.encoder is None else "transformer"

    @property
    def shape(self) -> ModelShape:
        """Labels and columns that all parts agree on."""
        blocks = None if self.encoder is None else self.encoder.blocks
        return ModelShape(len(self.labels), self.num_features, blocks)

    @property
    def num_features(self) -> int:
        """TF-IDF columns that rows must have, F."""
        if self.features is not None:
            return self.features.num_features
        return self.trees.num_features

    @property
    def trees(self) -> TreeEnsemble:
        """The label trees, of the last source that has some.

        Raises:
            DataError: the model has none.
        """
        ensembles = self._ensembles()
        if not ensembles:
            raise DataError("this model has no label trees")
        return ensembles[-1]

    def _ensembles(self) -> list[TreeEnsemble]:
        """The label trees of each source that has some."""
        trees = (getattr(source, "ensemble", None) for source in self.sources.values())
        return [each for each in trees if isinstance(each, TreeEnsemble)]

    def source(self, kind: type[S]) -> S:
        """The model's source of a kind.

        Args:
            kind: its class, such as `LinearTrees`.

        Returns:
            The source.

        Raises:
            DataError: the model has none.
        """
        source = self._source(kind.name)
        assert isinstance(source, kind)
        return source

    def _source(self, name: str) -> Source:
        if name not in self.sources:
            raise DataError(
                f"this model has no source {name!r}: it had no weight when the model was trained, "
                "or the settings left it out; train the model with it, or give its weight to "
                "another source"
            )
        return self.sources[name]

    def hybrid_rows_of(self, inputs: Any) -> HybridMatrix:
        """Rows as the linear trees take them.

        Args:
            inputs: N texts, rows (N, F), or a HybridMatrix (N, F + H) for a model of such rows.

        Returns:
            The rows; TF-IDF columns are brought to length 1, dense ones stay as they are.

        Raises:
            DataError: the model takes the other kind of input, or an input cannot be used.
        """
        if not isinstance(inputs, HybridMatrix):
            rows = self.rows_of(inputs)
            return HybridMatrix(rows, np.zeros((rows.shape[0], 0), np.float32))
        rows = check_rows(inputs, self.num_features)
        return HybridMatrix(normalize_rows(rows.sparse), rows.dense)

    def rows_of(self, inputs: Any) -> sp.csr_array:
        """TF-IDF rows of texts, or rows brought to length 1.

        Args:
            inputs: N texts, or rows (N, F).

        Returns:
            csr_array (N, F).

        Raises:
            DataError: the model takes the other kind of input, or an input cannot be used.
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
        """Embeddings as the encoder gives them, not of length 1.

        Args:
            texts: N texts.
            progress: told of the texts done.
            num_threads: threads; None for all processors.

        Returns:
            float32 (N, M).

        Raises:
            DataError: the model has no encoder, or `texts` are rows of features.
        """
        if self.encoder is None:
            raise DataError("this model is linear and has no encoder")
        if not is_texts(texts):
            raise DataError("this model reads texts, not rows of features; pass a list of texts")
        return self.encoder.embed(check_texts(texts), progress, num_threads)

    def source_rows(
        self,
        inputs: Any,
        embeddings_NM: np.ndarray | None = None,
        num_threads: int | None = None,
        progress: Progress | None = None,
    ) -> SourceRows:
        """Texts or rows as sources take them; texts are embedded when a source needs it.

        Args:
            inputs: N texts, or rows (N, F).
            embeddings_NM: embeddings as `embed` gives them, which spare the encoding.
            num_threads: threads of the encoder; None for all processors.
            progress: told of the texts that are encoded.

        Returns:
            The rows.

        Raises:
            DataError: inputs cannot be used, or embeddings are not those of so many rows or of this
                model's width.
        """
        inputs = as_inputs(inputs)
        X = self.hybrid_rows_of(inputs)
        if self.encoder is None:
            return SourceRows(X)
        if embeddings_NM is None:
            return SourceRows(
                X, self.encoder.blocks, lambda: self.embed(inputs, progress, num_threads)
            )
        if np.ndim(embeddings_NM) != 2 or len(embeddings_NM) != X.num_rows:
            raise DataError(
                f"embeddings have the shape {np.shape(embeddings_NM)} for {X.num_rows} rows; pass "
                "what `embed` gives"
            )
        self.encoder.blocks.check_width(embeddings_NM)  # also where no source looks at them
        return SourceRows(X, self.encoder.blocks, lambda: embeddings_NM)

    def score_sources(
        self,
        rows: SourceRows,
        k: int = CANDIDATES,
        num_threads: int | None = None,
        constraint: Constraint | None = None,
    ) -> dict[str, sp.csr_array]:
        """Scores of each source with non-zero weight.

        Args:
            rows: as `source_rows` gives them.
            k: labels that a source names for a row, at most.
            num_threads: threads; None for all processors.
            constraint: which labels may be named; None for all.

        Returns:
            By name of the source: scores in [0, 1], (N, L).

        Raises:
            DataError: fusion needs a source that the model does not have.
        """
        used = self._weighted()
        return name_candidates(used, rows, k, self.search, num_threads, constraint)

    def candidates(
        self,
        rows: SourceRows,
        k: int = CANDIDATES,
        num_threads: int | None = None,
        constraint: Constraint | None = None,
    ) -> Candidates:
        """What the sources with non-zero weight name, and the score of each of it by each of them.

        A source that has all the weight ranks what it names, by the scores that it gives itself.

        Args:
            rows: as `source_rows` gives them.
            k: labels that a source names for a row, at most.
            num_threads: threads; None for all processors.
            constraint: which labels may be named; None for all.

        Returns:
            The candidates.

        Raises:
            DataError: fusion needs a source that the model does not have.
        """
        used = self._weighted()
        own = name_candidates(used, rows, k, self.search, num_threads, constraint)
        if len(used) == 1:
            return Candidates.of(own)
        return complete_scores(used, own, rows, self.search, num_threads)

    def candidates_given(
        self,
        rows: SourceRows,
        pairs_NL: sp.csr_array,
        num_threads: int | None = None,
        own: Mapping[str, sp.csr_array] | None = None,
    ) -> Candidates:
        """Given pairs, scored as `candidates` would score them, however they rank.

        Boosted trees may look at how a label stands among the row's own candidates. So with them
        these are found and scored, too: the score of a pair does not depend on what else is asked.

        Args:
            rows: N rows, as `source_rows` gives them.
            pairs_NL: the pairs (row, label) are its stored entries.
            num_threads: threads; None for all processors.
            own: what the sources name for the rows, where that is known; None: it is found out
                where it is needed.

        Returns:
            The pairs, and the row's own candidates where they are known or needed.

        Raises:
            DataError: fusion needs a source that the model does not have.
        """
        used = self._weighted()
        if len(used) == 1:
            ((name, source),) = used.items()
            return Candidates.of(
                {name: source.score_given(rows, pairs_NL, self.search, num_threads)}
            )
        if own is None and self.fusion.booster is not None:
            own = name_candidates(used, rows, CANDIDATES, self.search, num_threads)
        return complete_scores(used, own or {}, rows, self.search, num_threads, pairs_NL)

    def _weighted(self) -> dict[str, Source]:
        """The sources with non-zero weight, those that need no encoder first."""
        for name in self.fusion.sources - set(self.sources):
            self._source(name)  # raises
        names = (name for name in self.sources if name in self.fusion.sources)
        ordered = sorted(names, key=lambda name: self.sources[name].uses_embeddings)
        return {name: self.sources[name] for name in ordered}

    def predict(
        self,
        inputs: Any,
        k: int = 5,
        embeddings_NM: np.ndarray | None = None,
        num_threads: int | None = None,
        progress: Progress | None = None,
        constraint: Constraint | None = None,
        tail: float = 0.0,
        watch: WatchCandidates | None = None,
    ) -> sp.csr_array:
        """The best labels of each text or row.

        Args:
            inputs: N texts, or rows (N, F).
            k: labels of a row, at most; above the number of labels, all that sources name.
            embeddings_NM: embeddings as `embed` gives them, which spare the encoding.
            num_threads: threads; None for all processors.
            progress: told of the texts that are encoded.
            constraint: which labels may be named; None for all.
            tail: above 0, up to 1, favours rare labels: scores are multiplied by
                `frequencies.tail_weights`.
            watch: is shown the candidates, block by block, unless the linear model answers alone.

        Returns:
            Scores in [0, 1], higher is better: csr_array (N, L).

        Raises:
            DataError: k is below 1, `tail` is outside of [0, 1], inputs cannot be used, or the
                model does not know how often labels were seen.
        """
        rows = self.source_rows(inputs, embeddings_NM, num_threads, progress)
        return self.predict_rows(rows, k, num_threads, constraint, tail, watch)

    def predict_rows(
        self,
        rows: SourceRows,
        k: int = 5,
        num_threads: int | None = None,
        constraint: Constraint | None = None,
        tail: float = 0.0,
        watch: WatchCandidates | None = None,
    ) -> sp.csr_array:
        """As `predict`, of rows as `source_rows` gives them.

        Args:
            rows: N rows.
            k: as in `predict`.
            num_threads: as in `predict`.
            constraint: as in `predict`.
            tail: as in `predict`.
            watch: as in `predict`.

        Returns:
            csr_array (N, L).

        Raises:
            DataError: as in `predict`.
        """
        k = min(check_count(k, "k"), max(len(self.labels), 1))
        weights_L = self.tail_weights(tail) if check_number(tail, "tail") else None
        reordered = weights_L is not None or self.reorders
        num_fused = max(k, CANDIDATES) if reordered else k
        num_named = self.num_named(num_fused)
        if self._baseline_alone:
            sources = self.score_sources(rows, num_named, num_threads, constraint)
            scores_NL = self.fuse(sources, num_fused)
        else:
            blocks = []
            for low in range(0, max(1, rows.num_rows), ROWS_AT_ONCE):
                high = min(rows.num_rows, low + ROWS_AT_ONCE)
                block = rows if high - low == rows.num_rows else rows.part(low, high)
                within = None if constraint is None else constraint.rows(low, high)
                candidates = self.candidates(block, num_named, num_threads, within)
                if watch is not None:
                    watch(candidates, low)
                blocks.append(self.fuse(candidates, num_fused))
            scores_NL = blocks[0]
            if len(blocks) > 1:
                scores_NL = as_csr(sp.vstack(blocks, format="csr"))
        if weights_L is not None:
            scores_NL.data = scores_NL.data * weights_L[scores_NL.indices]
        return top_k_rows(scores_NL, k) if reordered else scores_NL

    @property
    def reorders(self) -> bool:
        """Whether calibration may change the order of labels."""
        return self.calibration is not None and self.calibration.reorders

    def num_named(self, k: int) -> int:
        """How many labels each source names for a row.

        Args:
            k: labels of a row that are fused.

        Returns:
            A number of labels: `k` where the linear model answers alone, else at least CANDIDATES.
        """
        return k if self._baseline_alone else max(k, CANDIDATES)

    @property
    def _baseline_alone(self) -> bool:
        return self.fusion.sources == {BASELINE} and self.fusion.booster is None

    def fuse(self, sources: Mapping[str, sp.csr_array], k: int) -> sp.csr_array:
        """The `k` labels with the highest fused scores, calibrated where the model is.

        Args:
            sources: scores by name of the source, as `candidates` gives them.
            k: labels of a row, at most.

        Returns:
            csr_array (N, L).
        """
        if self._baseline_alone:
            scores_NL = sources[BASELINE]
        else:
            counts_L = None if self.fusion.booster is None else self._frequencies().counts_L
            scores_NL = self.fusion.scores(sources, counts_L, k)
        if self.calibration is not None:
            scores_NL = self.calibration.apply(scores_NL, self._frequencies().counts_L)
        return scores_NL

    def tail_weights(self, tail: float) -> np.ndarray:
        """What a label's score is multiplied by at `tail`.

        Args:
            tail: 0 (as trained) to 1 (rare labels first).

        Returns:
            float32 (L,) in (0, 1].

        Raises:
            DataError: `tail` is outside of [0, 1], or the model has no label frequencies.
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
        embeddings_NM: np.ndarray | None = None,
        num_threads: int | None = None,
    ) -> np.ndarray:
        """Scores of given labels for each text or row, however they rank: what `predict` says of a
        label, and what it would say of one that no source names.

        Args:
            inputs: N texts, or rows (N, F).
            columns_A: the labels.
            embeddings_NM: embeddings as `embed` gives them, which spare the encoding.
            num_threads: threads; None for all processors.

        Returns:
            float32 (N, A), in [0, 1].

        Raises:
            DataError: there is no label, or inputs cannot be used.
        """
        columns_A = np.asarray(columns_A, np.int64)
        if not len(columns_A):
            raise DataError("no labels to score; give at least one")
        rows = self.source_rows(inputs, embeddings_NM, num_threads)
        pairs_NL = every_pair(rows.num_rows, columns_A, len(self.labels))
        candidates = self.candidates_given(rows, pairs_NL, num_threads)
        scores_NL = self.fuse(candidates, len(self.labels))
        return np.asarray(scores_NL[:, columns_A].toarray(), np.float32)

    def about_scores(self) -> dict[str, Any]:
        """How scores come about, as plain values: the sources' weights, whether boosted trees and
        a calibration follow, the tuned thresholds, and the indexes.

        Returns:
            `fusion`, `boosted`, `calibrated`, `thresholds` and, where there are any, `indexes`, fit
            for JSON.
        """
        calibration = self.calibration
        return {
            "fusion": dict(self.fusion.weights),
            "boosted": self.fusion.booster is not None,
            "calibrated": calibration is not None,
            "thresholds": {} if calibration is None else dict(calibration.thresholds),
            **({"indexes": indexes} if (indexes := self.about_indexes()) else {}),
        }

    def about_indexes(self) -> dict[str, dict[str, Any]]:
        """What FAISS indexes there are, and how many of the exact best each finds.

        Returns:
            `VectorIndex.describe` by the name of the source.
        """
        indexes = {name: getattr(source, "index", None) for name, source in self.sources.items()}
        return {
            name: index.describe()
            for name, index in indexes.items()
            if isinstance(index, VectorIndex)
        }

    def save(self, folder: Path) -> None:
        """Write the parts into a folder; `xrt.storage.artifact` adds the manifest.

        Args:
            folder: where; it is made where it is missing.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.labels.save(folder)
        settings: dict[str, Any] = {"search": asdict(self.search)}
        if self.features is not None:
            self.features.save(folder / "features")
        if self.encoder is not None:
            settings["encoder"] = self.encoder.save(folder)
        settings["sources"] = {
            name: source.save(folder / name) for name, source in self.sources.items()
        }
        settings["fusion"] = self.fusion.save(folder)
        if self.calibration is not None:
            settings["calibration"] = self.calibration.to_dict()
        if self.frequencies is not None:
            settings["frequencies"] = self.frequencies.save(folder)
        write_json(folder / "model.json", settings)

    @classmethod
    def load(cls, folder: Path, mmap: bool = True, compute: Compute = Compute.auto) -> "XrtModel":
        """Read what `save` wrote. Hashes are checked before, by `open_artifact`; the contents of
        weights after, by `check`.

        Args:
            folder: the model's folder.
            mmap: whether arrays are memory-mapped.
            compute: how an encoder computes.

        Returns:
            The model.

        Raises:
            ArtifactError: a part is damaged, of an unknown source, or does not fit the others.
        """
        settings = SavedValues.read(folder / "model.json")
        labels, encoder = LabelTable.load(folder), None
        if (part := _settings_of_encoder(settings)) is not None:
            from xrt.model_encoder import ModelEncoder  # here, since it brings torch

            encoder = ModelEncoder.load(part, folder, compute)
        has_features = (folder / "features").is_dir()
        calibration = frequencies = None
        if settings.has("calibration"):
            calibration = Calibration.from_dict(settings.part("calibration"))
        if settings.has("frequencies"):
            known = settings.part("frequencies")
            frequencies = LabelFrequencies.load(known, folder, len(labels))
        model = cls(
            labels=labels,
            features=TfidfFeatures.load(folder / "features") if has_features else None,
            sources={
                name: SOURCES[name].load(folder / name, part, mmap)
                for name, part in _settings_of_sources(settings, folder).items()
            },
            encoder=encoder,
            search=SearchParams.from_saved(settings.part("search")),
            fusion=Fusion.load(settings.part("fusion"), folder),
            calibration=calibration,
            frequencies=frequencies,
        )
        if faults := [fault for fault in model._faults() if fault is not None]:
            raise ArtifactError(f"{folder}: {faults[0]}; copy the model again, or train it anew")
        return model

    def check(self, num_threads: int | None = None) -> None:
        """Look at every number that compiled code indexes with, and that all weights are finite; of
        a model that was opened, `load` has looked at pointers, trees and matrices alone.

        Args:
            num_threads: threads; None for all processors.

        Raises:
            ArtifactError: a part is damaged.
        """
        self.labels.check()
        for source in self.sources.values():
            source.check(num_threads)

    def _faults(self) -> Iterator[str | None]:
        """How parts of the model do not fit each other; None for one that does."""
        if self.features is None and not self._ensembles():
            yield "neither a vocabulary nor label trees"
            return
        shape = self.shape
        for source in self.sources.values():
            yield source.fault(shape)
        lacking = self.fusion.sources - set(self.sources)
        if lacking:
            yield f"there are no scores of {', '.join(sorted(lacking))} to fuse"
        if self.frequencies is None:
            yield None if self.calibration is None else "calibration without label counts"
            yield None if self.fusion.booster is None else "boosted trees without label counts"


def every_pair(num_rows: int, columns_A: np.ndarray, num_labels: int) -> sp.csr_array:
    """The pairs of each row with each of the labels, as stored entries.

    Args:
        num_rows: rows, N.
        columns_A: columns of A labels, whole numbers; repeated ones count once.
        num_labels: labels, L.

    Returns:
        float32 csr_array (N, L), 1 at each pair.
    """
    columns = np.unique(columns_A).astype(np.int32)
    indptr = np.arange(num_rows + 1) * len(columns)
    ones = np.ones(num_rows * len(columns), np.float32)
    return sp.csr_array((ones, np.tile(columns, num_rows), indptr), shape=(num_rows, num_labels))


def _settings_of_encoder(settings: SavedValues) -> SavedValues | None:
    """What the encoder saved; None for a linear model. Earlier versions called it `deep`."""
    for name in ("encoder", "deep"):
        if settings.has(name):
            return settings.part(name)
    return None


def _settings_of_sources(settings: SavedValues, folder: Path) -> dict[str, SavedValues]:
    """What each source of a saved model saved, in the order of SOURCES.

    Earlier versions named no sources: each has a folder, and settings are with the encoder's.
    Raises ArtifactError for a source that this version does not have.
    """
    if not settings.has("sources"):
        shared = _settings_of_encoder(settings) or SavedValues({}, settings.where)
        return {name: shared for name in SOURCES if (folder / name).is_dir()}
    parts = settings.part("sources")
    if unknown := sorted(set(parts.content) - set(SOURCES)):
        raise ArtifactError(
            f"{parts.where}: source {unknown[0]!r} is unknown; this version has "
            f"{', '.join(SOURCES)}"
        )
    return {name: parts.part(name) for name in SOURCES if name in parts.content}
