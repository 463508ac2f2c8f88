"""The long steps of an audit as stages of a folder: rows, folds, neighbours. Each is kept, and a
second run, or one after a kill, begins where it must.

N rows, L labels, F TF-IDF columns.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from xrt.applications.audit.audit_params import AuditParams
from xrt.applications.audit.evidence.nearest_rows import NearestRows
from xrt.applications.audit.scoring.decoys import draw_decoys
from xrt.applications.audit.scoring.folds import fold_of_rows, groups_of
from xrt.applications.audit.scoring.out_of_fold import FoldScores, in_row_order, score_fold
from xrt.data.corpus import Corpus
from xrt.data.labels import LABEL_TEXT_WEIGHT
from xrt.features.label_features import label_text_features
from xrt.features.tfidf import TfidfFeatures
from xrt.features.tfidf_params import TfidfParams
from xrt.pipeline.label_rows import label_rows
from xrt.progress import Progress
from xrt.sources.votes import Neighbours
from xrt.sparse import as_csr, binarize, load_csr, normalize_rows, save_csr
from xrt.storage.atomic import save_array
from xrt.storage.hashing import content_hash
from xrt.storage.reading import load_array
from xrt.storage.stages import run_stage


@dataclass(frozen=True, eq=False)
class AuditedRows:
    """The rows X (N, F) of a corpus, their vectoriser where they are texts, and the labels' names
    as rows (L, F), empty where there is no name.
    """

    X_NF: sp.csr_array
    features: TfidfFeatures | None
    names_LF: sp.csr_array
    group_N: np.ndarray
    key: str


def make_rows(folder: Path, corpus: Corpus, progress: Progress | None) -> AuditedRows:
    """TF-IDF of the texts, or the corpus's own rows brought to length 1."""
    group_N = groups_of(corpus)
    nothing = sp.csr_array((corpus.num_labels, 1), dtype=np.float32)
    if corpus.texts is None:
        assert corpus.X is not None
        X_NF = normalize_rows(as_csr(corpus.X, "X"))
        return AuditedRows(X_NF, None, nothing, group_N, content_hash(X_NF))
    texts = corpus.texts

    def produce(into: Path) -> None:
        features = TfidfFeatures(TfidfParams())
        X_NF = features.fit_transform(texts, progress)
        features.save(into / "features")
        save_csr(into, "X", X_NF)

    inputs = {"texts": content_hash(texts)}
    stage = run_stage(folder, "rows", 1, asdict(TfidfParams()), inputs, produce)
    features = TfidfFeatures.load(stage.folder / "features")
    names_LF = label_text_features(list(corpus.labels.names), features)
    return AuditedRows(load_csr(stage.folder, "X"), features, names_LF, group_N, stage.output_hash)


def score_rows(
    folder: Path, corpus: Corpus, rows: AuditedRows, params: AuditParams, progress: Progress | None
) -> tuple[FoldScores, np.ndarray]:
    """Out-of-fold scores of all rows, and the fold of each: a stage for each fold."""
    Y_NL = binarize(as_csr(corpus.Y, "Y"))
    fold_N = fold_of_rows(rows.group_N, params.folds, params.seed)
    names = label_rows(rows.features, corpus.labels, LABEL_TEXT_WEIGHT)
    decoys_NL = draw_decoys(Y_NL, params.seed)
    inputs = {"rows": rows.key, "labels": content_hash(Y_NL)} | (names.inputs if names else {})
    parts = []
    for fold in range(params.folds):

        def produce(into: Path, fold: int = fold) -> None:
            told = _Numbered(progress, f"fold {fold + 1} of {params.folds}: ")
            found = score_fold(
                rows.X_NF, Y_NL, decoys_NL, names, fold_N == fold, params,
                told if progress is not None else None,
            )  # fmt: skip
            for name in ("best_NL", "given_NL", "decoys_NL"):
                save_csr(into, name, getattr(found, name))

        settings = {
            "fold": fold, "folds": params.folds, "candidates": params.candidates,
            "seed": params.seed,
        }  # fmt: skip
        stage = run_stage(folder, f"fold-{fold + 1}", 1, settings, inputs, produce)
        names_of = ("best_NL", "given_NL", "decoys_NL")
        parts.append(FoldScores(*(load_csr(stage.folder, name) for name in names_of)))
    joined = (
        in_row_order([getattr(part, name) for part in parts], fold_N)
        for name in ("best_NL", "given_NL", "decoys_NL")
    )
    return FoldScores(*joined), fold_N


def similar_rows(
    folder: Path, rows: AuditedRows, params: AuditParams, progress: Progress | None
) -> Neighbours:
    """The nearest other rows of each row."""

    def produce(into: Path) -> None:
        memory = NearestRows(rows.X_NF, params.neighbours)
        others = np.arange(rows.X_NF.shape[0])
        found = memory.nearest(rows.X_NF, params.num_threads, others, progress)
        save_array(into / "rows.npy", found.rows_MW)
        save_array(into / "similarities.npy", found.similarities_MW)

    settings = {"neighbours": params.neighbours}
    stage = run_stage(folder, "neighbours", 1, settings, {"rows": rows.key}, produce)
    return Neighbours(
        load_array(stage.folder / "rows.npy", np.int32, 2),
        load_array(stage.folder / "similarities.npy", np.float32, 2),
    )


class _Numbered:
    """Progress whose steps say to which fold they belong."""

    def __init__(self, progress: Progress | None, prefix: str) -> None:
        self.progress, self.prefix = progress, prefix

    def start(self, description: str, total: int | None) -> None:
        """Begin a step."""
        if self.progress is not None:
            self.progress.start(self.prefix + description, total)

    def advance(self, n: int = 1, **figures: float) -> None:
        """Count `n` more units."""
        if self.progress is not None:
            self.progress.advance(n, **figures)

    def finish(self) -> None:
        """End the step."""
        if self.progress is not None:
            self.progress.finish()
