"""How well an audit finds labels that are known to be wrong: they are damaged and looked for.

N rows, L labels, S suggestions, best first.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.applications.audit.audit_params import AuditParams
from xrt.applications.audit.auditing import SUGGESTIONS, audit
from xrt.applications.audit.correction.applying import apply_suggestions, soften
from xrt.applications.audit.suggestions.pairs import values_at
from xrt.applications.audit.suggestions.suggestion import (
    ADD,
    REMOVE,
    SuggestedChange,
    read_suggestions,
)
from xrt.data.corpus import Corpus
from xrt.data.splits import validation_split
from xrt.errors import ConfigError
from xrt.metrics.ranking import judge
from xrt.pipeline.params import PipelineParams
from xrt.pipeline.trainer import Trainer
from xrt.progress import Progress
from xrt.sparse import as_csr, binarize


@dataclass(frozen=True, eq=False)
class Damaged:
    """A corpus with labels removed and wrong ones added; which, as cells of (N, L)."""

    corpus: Corpus
    removed_NL: sp.csr_array
    added_NL: sp.csr_array


def damage(
    corpus: Corpus, removed: float, added: float, *, by_frequency: bool, seed: int
) -> Damaged:
    """Remove this share of the given labels, and add that share of wrong ones to random rows.

    Wrong labels are drawn by how often labels occur, or (`by_frequency` false) each as often.
    Labels are removed alike, or by frequency with a chance that falls with the square root of their
    rows, the shares being those of all labels.

    Args:
        corpus: The corpus; it stays as it is.
        removed: Share of the given labels to remove, from 0 to below 1.
        added: Number of wrong labels to add, as a share of the given ones, from 0 to below 1.
        by_frequency: Whether damage goes by the labels' frequency.
        seed: Seed of the draws.

    Returns:
        The damaged corpus, and what was done to it.

    Raises:
        ConfigError: A share is outside of its range.
    """
    for name, share in (("removed", removed), ("added", added)):
        if not 0 <= share < 1:
            raise ConfigError(f"noise: {name} = {share}: a share from 0 up to below 1 is needed")
    Y_NL = binarize(as_csr(corpus.Y))
    rng = np.random.default_rng([seed, 7])
    removed_NL = _removed(Y_NL, removed, by_frequency, rng)
    added_NL = _added(Y_NL, added, by_frequency, rng)
    Y_new = sp.csr_array(Y_NL - removed_NL + added_NL, dtype=np.float32)
    Y_new.eliminate_zeros()
    return Damaged(replace(corpus, Y=as_csr(Y_new)), removed_NL, added_NL)


def _removed(
    Y_NL: sp.csr_array, share: float, by_frequency: bool, rng: np.random.Generator
) -> sp.csr_array:
    counts_E = np.bincount(Y_NL.indices, minlength=Y_NL.shape[1])[Y_NL.indices]
    chances = counts_E**-0.5 if by_frequency else np.ones(len(counts_E))
    chances = np.minimum(1.0, chances * share / max(chances.mean(), 1e-12))
    cells = Y_NL.copy()
    cells.data = (rng.random(Y_NL.nnz) < chances).astype(np.float32)
    cells.eliminate_zeros()
    return as_csr(cells)


def _added(
    Y_NL: sp.csr_array, share: float, by_frequency: bool, rng: np.random.Generator
) -> sp.csr_array:
    num_rows, num_labels = Y_NL.shape
    size = round(share * Y_NL.nnz)
    rows = rng.integers(0, num_rows, size)
    used = Y_NL.indices if by_frequency else np.arange(num_labels)
    columns = used[rng.integers(0, len(used), size)]
    draws_NL = sp.csr_array((np.ones(size, np.float32), (rows, columns)), shape=Y_NL.shape)
    draws_NL = binarize(as_csr(draws_NL))
    cells = sp.csr_array(draws_NL - draws_NL.multiply(Y_NL), dtype=np.float32)
    cells.eliminate_zeros()
    return as_csr(cells)


def self_test(
    corpus: Corpus,
    folder: Path,
    params: AuditParams,
    shares: Sequence[float],
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Damage labels in several ways, and measure how much of that an audit finds.

    Half as many wrong labels are added as are removed. The corpus is taken for right: labels that
    it lacks itself count as false alarms.

    Args:
        corpus: The corpus; a tenth of its rows is held out.
        folder: Folder for temporary files.
        params: Settings of the audits.
        shares: Shares of labels to remove, from 0 to below 1.
        progress: Shows the steps of the audits; None shows nothing.

    Returns:
        A record for each share and kind of damage: what was found of it, and P@5 on held-out rows
        after training on clean, damaged, repaired and softened labels.

    Raises:
        ConfigError: A share is outside of its range.
        DataError: No row can be held out, or an audit is not possible.
    """
    split = validation_split(corpus.Y, size=max(1, corpus.num_instances // 10), seed=params.seed)
    clean, held_out = corpus.subset(split.train), corpus.subset(split.validation)
    records = []
    for share in shares:
        for by_frequency in (False, True):
            damaged = damage(clean, share, share / 2, by_frequency=by_frequency, seed=params.seed)
            with tempfile.TemporaryDirectory(dir=_made(folder)) as work:
                audit(damaged.corpus, work, params, progress=progress)
                suggestions = read_suggestions(Path(work) / SUGGESTIONS)
            record = {"removed": share, "added": share / 2, "by_frequency": by_frequency}
            record |= recovery(damaged, suggestions)
            record |= effect(clean, damaged, suggestions, held_out, params)
            records.append(record)
    return records


def recovery(damaged: Damaged, suggestions: Sequence[SuggestedChange]) -> dict[str, Any]:
    """Average precision, and precision and recall of as many suggestions as there is damage.

    Args:
        damaged: The damaged corpus.
        suggestions: What the audit of it suggests, the surest first within each kind.

    Returns:
        For each kind of suggestion: how much damage there is, and the figures of `ranked_recovery`.
    """
    record: dict[str, Any] = {}
    index = damaged.corpus.labels.index
    for kind, cells_NL in ((ADD, damaged.removed_NL), (REMOVE, damaged.added_NL)):
        own = [s for s in suggestions if s.kind == kind]
        places = np.array([(s.row, index[s.label]) for s in own], np.int64).reshape(-1, 2)
        hits_S = values_at(cells_NL, places[:, 0], places[:, 1]) > 0
        record[kind] = {"damage": int(cells_NL.nnz), **ranked_recovery(hits_S, int(cells_NL.nnz))}
    return record


def ranked_recovery(hits_S: np.ndarray, total: int) -> dict[str, Any]:
    """Figures of a ranking.

    Args:
        hits_S: Whether each suggestion is right, in their order, bool (S,).
        total: How many there are to find.

    Returns:
        Average precision, precision and recall at `total` suggestions, and recall of all, 0 to 1
        each; and the number of suggestions.
    """
    hits = hits_S.cumsum()
    precision_S = hits / np.arange(1, len(hits) + 1)
    depth = min(total, len(hits))
    return {
        "suggested": len(hits),
        "average_precision": round(float(precision_S[hits_S].sum() / max(total, 1)), 4),
        "precision_at_damage": round(float(hits[depth - 1] / depth) if depth else 0.0, 4),
        "recall_at_damage": round(float(hits[depth - 1] / max(total, 1)) if depth else 0.0, 4),
        "recall": round(float(hits_S.sum() / max(total, 1)), 4),
    }


def effect(
    clean: Corpus,
    damaged: Damaged,
    suggestions: Sequence[SuggestedChange],
    held_out: Corpus,
    params: AuditParams,
) -> dict[str, Any]:
    """What damage costs on other rows, and what each way of repair wins back.

    Linear models learn clean labels, damaged ones, labels changed by the surest suggestions, and
    labels with the suggestions as doubts.

    Args:
        clean: The corpus without damage.
        damaged: The damaged corpus.
        suggestions: What the audit of it suggests.
        held_out: Other rows, whose labels have the same columns.
        params: Of these, `seed` and `num_threads` are used.

    Returns:
        `P@5` of each model, and `won_back` of each way of repair.
    """
    corpora = {
        "clean": clean,
        "damaged": damaged.corpus,
        "repaired": apply_suggestions(damaged.corpus, chosen(suggestions, params)).corpus,
        "softened": soften(damaged.corpus, suggestions).corpus,
    }
    figures = {name: precision_at_5(corpus, held_out, params) for name, corpus in corpora.items()}
    return {"P@5": figures, "won_back": won_back(figures)}


def won_back(figures: Mapping[str, float]) -> dict[str, float] | None:
    """The share of what the damage cost that each way of repair wins back.

    Args:
        figures: P@5 of `clean`, `damaged`, `repaired` and `softened`.

    Returns:
        Shares of `repaired` and `softened`; None where nothing was lost.
    """
    lost = figures["clean"] - figures["damaged"]
    if lost <= 0:
        return None
    ways = ("repaired", "softened")
    return {way: round((figures[way] - figures["damaged"]) / lost, 4) for way in ways}


REPAIR_ADDITIONS, REPAIR_REMOVALS = 0.5, 0.98
"""From which score on a suggestion is followed when nobody looks at it."""


def chosen(suggestions: Sequence[SuggestedChange], params: AuditParams) -> list[SuggestedChange]:
    """The suggestions that a repair without a person follows.

    Args:
        suggestions: The suggestions.
        params: Settings of the audit.

    Returns:
        Those with a score of at least REPAIR_ADDITIONS or REPAIR_REMOVALS.
    """
    least = {ADD: REPAIR_ADDITIONS, REMOVE: REPAIR_REMOVALS}
    return [s for s in suggestions if s.score >= least[s.kind]]


def precision_at_5(corpus: Corpus, held_out: Corpus, params: AuditParams) -> float:
    """P@5 of the linear model of a corpus on held-out rows.

    Args:
        corpus: The corpus to learn from.
        held_out: The rows to judge on, whose labels have the same columns.
        params: Of these, `seed` and `num_threads` are used.

    Returns:
        P@5, 0 to 1, rounded to five digits.
    """
    settings = PipelineParams(fused=False, seed=params.seed, num_threads=params.num_threads or 0)
    model = Trainer(settings).fit(corpus).model
    inputs = held_out.X if held_out.texts is None else held_out.texts
    scores_NL = model.predict(inputs, 5, num_threads=params.num_threads)
    ranking = judge(binarize(as_csr(held_out.Y)), scores_NL, 5)
    return round(float(ranking.hits_NK.mean()), 5)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
