"""The long steps of an audit as stages of a folder: rows, folds, neighbours. Each is kept, and a
second run, or one after a kill, begins where it must.

N rows, L labels, F TF-IDF columns.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from xrt.applications.audit.audit_params import AuditParams
from xrt.applications.audit.evidence.nearest_rows import NearestRows
from xrt.applications.audit.scoring.decoys import draw_decoys
from xrt.applications.audit.scoring.folds import fold_of_rows
from xrt.applications.audit.scoring.out_of_fold import FoldScores, in_row_order, score_fold
from xrt.data.corpus import Corpus
from xrt.data.equal_rows import groups_of
from xrt.data.labels import LABEL_TEXT_WEIGHT
from xrt.features.label_features import label_text_features
from xrt.features.tfidf import TfidfFeatures
from xrt.pipeline.label_names import label_name_rows
from xrt.pipeline.params import PipelineParams
from xrt.pipeline.rows import make_features
from xrt.pipeline.runner import StageRunner
from xrt.progress import Progress
from xrt.sources.votes import Neighbours
from xrt.sparse import as_csr, binarize, load_csr, normalize_rows, save_csr
from xrt.storage.atomic import save_array
from xrt.storage.hashing import content_hash
from xrt.storage.reading import load_array
from xrt.storage.stages import FolderCache, Hash, Settings, Stage, Workspace


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
    """TF-IDF of the texts, or the corpus's own rows brought to length 1.

    Args:
        folder: Folder of the stages.
        corpus: Texts or features.
        progress: Shows the step; None shows nothing.

    Returns:
        The rows; without texts there are no label names in them.
    """
    group_N = groups_of(corpus)
    nothing = sp.csr_array((corpus.num_labels, 1), dtype=np.float32)
    if corpus.texts is None:
        assert corpus.X is not None
        X_NF = normalize_rows(as_csr(corpus.X, "X"))
        return AuditedRows(X_NF, None, nothing, group_N, content_hash(X_NF))
    runner = StageRunner(PipelineParams(), FolderCache(folder), progress)
    text_rows, key = make_features(runner, corpus, name="rows")
    assert text_rows.features is not None
    assert isinstance(key, str)
    names_LF = label_text_features(list(corpus.labels.names), text_rows.features)
    return AuditedRows(text_rows.X_NF, text_rows.features, names_LF, group_N, key)


SCORES = ("best_NL", "given_NL", "decoys_NL")


def _save_fold(scores: FoldScores, folder: Path) -> None:
    for name in SCORES:
        save_csr(folder, name, getattr(scores, name))


FOLD = Stage[FoldScores](
    "fold", 3, ("fold", "folds", "candidates", "seed"), _save_fold,
    lambda folder: FoldScores(*(load_csr(folder, name) for name in SCORES)),
)  # fmt: skip


def score_rows(
    folder: Path, corpus: Corpus, rows: AuditedRows, params: AuditParams, progress: Progress | None
) -> tuple[FoldScores, np.ndarray]:
    """Out-of-fold scores of all rows; each fold is a stage.

    Args:
        folder: Folder of the stages.
        corpus: The corpus.
        rows: Its rows.
        params: Settings of the audit.
        progress: Shows the folds; None shows nothing.

    Returns:
        Scores (N, L), and the fold of each row, int64 (N,).

    Raises:
        DataError: There are fewer different rows than folds.
    """
    Y_NL = binarize(as_csr(corpus.Y, "Y"))
    fold_N = fold_of_rows(rows.group_N, params.folds, params.seed)
    names = label_name_rows(rows.features, corpus.labels, LABEL_TEXT_WEIGHT)
    decoys_NL = draw_decoys(Y_NL, params.seed)
    inputs: dict[str, Hash] = {"rows": rows.key, "labels": content_hash(Y_NL)}
    inputs |= names.inputs if names else {}
    cache, parts = FolderCache(folder), []
    for fold in range(params.folds):

        def make(settings: Settings, workspace: Workspace, fold: int = fold) -> FoldScores:
            numbered = _Numbered(progress, f"fold {fold + 1} of {params.folds}: ")
            return score_fold(
                rows.X_NF, Y_NL, decoys_NL, names, corpus.labels, fold_N == fold, params,
                numbered if progress is not None else None,
            )  # fmt: skip

        values = {
            "fold": fold, "folds": params.folds, "candidates": params.candidates,
            "seed": params.seed,
        }  # fmt: skip
        output = cache.run(FOLD, make, Settings(values, {}), inputs, f"fold-{fold + 1}")
        parts.append(output.value)
    joined = (in_row_order([getattr(part, name) for part in parts], fold_N) for name in SCORES)
    return FoldScores(*joined), fold_N


def _save_neighbours(nearest: Neighbours, folder: Path) -> None:
    save_array(folder / "rows.npy", nearest.rows_MW)
    save_array(folder / "similarities.npy", nearest.similarities_MW)


def _load_neighbours(folder: Path) -> Neighbours:
    return Neighbours(
        load_array(folder / "rows.npy", np.int32, 2),
        load_array(folder / "similarities.npy", np.float32, 2),
    )


NEIGHBOURS = Stage("neighbours", 2, ("neighbours",), _save_neighbours, _load_neighbours)


def similar_rows(
    folder: Path, rows: AuditedRows, params: AuditParams, progress: Progress | None
) -> Neighbours:
    """The nearest other rows of each row, as a stage.

    Args:
        folder: Folder of the stages.
        rows: The corpus's rows.
        params: Of these, `neighbours` (how many for each row) and `num_threads` are used.
        progress: Shows the step; None shows nothing.

    Returns:
        Rows and cosine similarities, (N, neighbours) each.
    """

    def make(settings: Settings, workspace: Workspace) -> Neighbours:
        memory = NearestRows(rows.X_NF, settings["neighbours"])
        others = np.arange(rows.X_NF.shape[0])
        return memory.nearest(rows.X_NF, params.num_threads, others, progress)

    settings = Settings({"neighbours": params.neighbours}, {})
    return FolderCache(folder).run(NEIGHBOURS, make, settings, {"rows": rows.key}).value


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
