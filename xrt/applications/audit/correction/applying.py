"""Accepted suggestions become a corrected corpus and a record of every change."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from xrt.applications.audit.correction.added_labels import read_added_labels
from xrt.applications.audit.correction.label_values import RowChange
from xrt.applications.audit.suggestions.suggestion import ADD, REMOVE, SuggestedChange, corpus_key
from xrt.applications.audit.suggestions.trust import read_decisions
from xrt.data.corpus import Corpus
from xrt.data.sources import first_line, numbered_lines
from xrt.errors import ConfigError, DataError
from xrt.sparse import as_csr
from xrt.storage.atomic import atomic_file

SOFT = "soft"
SOFT_ADDITIONS, SOFT_REMOVALS = 0.05, 0.9
"""Least sureness of a suggestion that changes only how much a label counts."""
DOUBTED_CONFIDENCE = 0.3
"""Confidence of a label that is suspected to be wrong."""


@dataclass(frozen=True, kw_only=True)
class Applied:
    """The corrected corpus, what was changed, and the rows that lost their last label."""

    corpus: Corpus
    changes: list[SuggestedChange]
    num_emptied: int


def accepted(suggestions: Sequence[SuggestedChange], accept: str) -> list[SuggestedChange]:
    """The suggestions to follow: `all`, those with at least a score, or those that a file names.

    A score is compared with `trust` where decisions were learnt from, else with `score`.

    Args:
        suggestions: All suggestions.
        accept: `all`, a score from 0 to 1, or a file. The file has an id a line, or decisions as
            `read_decisions` reads them.

    Returns:
        Those that are followed; behind them labels that a file of decisions adds to rows.

    Raises:
        DataError: There is no such file, it has an id that no suggestion has, or it is neither.
        ConfigError: The score is a number outside of 0 to 1.
    """
    if accept == "all":
        return list(suggestions)
    try:
        least = float(accept)
    except ValueError:
        return _named(suggestions, Path(accept))
    if not 0 <= least <= 1:
        raise ConfigError(f"{accept!r} is no score from 0 to 1; give one, `all`, or a file of ids")
    return [s for s in suggestions if s.sureness >= least]


def _named(suggestions: Sequence[SuggestedChange], path: Path) -> list[SuggestedChange]:
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; accept `all`, a score from 0 to 1, or a file of ids"
        )
    is_json = path.stat().st_size > 0 and first_line(path).startswith(b"{")
    known, added = {s.id for s in suggestions}, []
    if is_json:
        ids = {id for id, is_accepted in read_decisions(path).items() if is_accepted}
        added = [s for s in read_added_labels(path) if s.id in ids - known]
    else:
        ids = _plain_ids(path)
    unknown = sorted(ids - known - {s.id for s in added})
    if unknown:
        raise DataError(
            f"{path}: {len(unknown)} of its {len(ids)} ids are no suggestions ({unknown[0]!r}); "
            "give the suggestions that they were chosen from"
        )
    return [s for s in suggestions if s.id in ids] + added


def _plain_ids(path: Path) -> set[str]:
    """The ids of a file with one a line; none of a file of 0 bytes."""
    ids: set[str] = set()
    for number, raw in numbered_lines(path) if path.stat().st_size else ():
        try:
            ids.add(raw.decode("utf-8").strip())
        except UnicodeDecodeError as err:
            raise DataError(
                f"{path}: line {number}: byte {err.start + 1} is not UTF-8; convert the file to "
                "UTF-8"
            ) from err
    return ids - {""}


def apply_suggestions(corpus: Corpus, suggestions: Sequence[SuggestedChange]) -> Applied:
    """A copy of the corpus with these changes made.

    Args:
        corpus: The corpus that was audited.
        suggestions: Changes to make; all of them are made.

    Returns:
        The corrected corpus, the changes, and how many rows lost their last label.

    Raises:
        DataError: A suggestion belongs to another corpus.
    """
    _require_own(corpus, suggestions)
    index = corpus.labels.index
    changed: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
    for s in suggestions:
        changed[s.kind == ADD].append((s.row, index[s.label]))
    added_NL, removed_NL = (_cells(changed[kind], corpus.Y.shape) for kind in (True, False))
    Y_NL = as_csr(corpus.Y)
    remaining_NL = sp.csr_array(Y_NL - Y_NL.multiply(removed_NL))
    Y_new = sp.csr_array(remaining_NL.maximum(added_NL), dtype=np.float32)
    Y_new.eliminate_zeros()
    before, after = (np.diff(matrix.indptr) for matrix in (Y_NL, Y_new))
    num_emptied = int(((before > 0) & (after == 0)).sum())
    return Applied(
        corpus=replace(corpus, Y=as_csr(Y_new)), changes=list(suggestions), num_emptied=num_emptied
    )


def soften(corpus: Corpus, suggestions: Sequence[SuggestedChange]) -> Applied:
    """The corpus with confidences in place of changes. Training reads them as weights.

    A label that is suspected to be missing is added with the square of its sureness as confidence
    (a label that looks like the row's and is not given is less likely true than one that looks as
    much like it and is); one that is suspected to be wrong stays with DOUBTED_CONFIDENCE.
    Suggestions less sure than SOFT_ADDITIONS and SOFT_REMOVALS change nothing.

    Args:
        corpus: The corpus that was audited.
        suggestions: Suggestions on this corpus.

    Returns:
        The softened corpus with the suggestions that changed it; `num_emptied` is 0.

    Raises:
        DataError: A suggestion belongs to another corpus.
    """
    _require_own(corpus, suggestions)
    index, least = corpus.labels.index, {ADD: SOFT_ADDITIONS, REMOVE: SOFT_REMOVALS}
    followed = [s for s in suggestions if s.sureness >= least[s.kind]]
    additions = [s for s in followed if s.kind == ADD]
    doubted_places = [(s.row, index[s.label]) for s in followed if s.kind == REMOVE]
    Y_NL = as_csr(corpus.Y)
    doubts_NL = Y_NL.multiply(_cells(doubted_places, corpus.Y.shape))
    added_NL = _cells([(s.row, index[s.label]) for s in additions], corpus.Y.shape, additions)
    remaining_NL = sp.csr_array(Y_NL - (1 - DOUBTED_CONFIDENCE) * doubts_NL)
    Y_new = sp.csr_array(remaining_NL.maximum(added_NL), dtype=np.float32)
    return Applied(corpus=replace(corpus, Y=as_csr(Y_new)), changes=followed, num_emptied=0)


def row_changes(changes: Sequence[SuggestedChange], *, soft: bool) -> dict[int, RowChange]:
    """What is to change in each row of the audited file.

    Args:
        changes: Suggestions that are followed.
        soft: Whether they change only how much a label counts, as `soften` does.

    Returns:
        Changes by row of the corpus.
    """
    by_row: dict[int, RowChange] = {}
    for s in changes:
        change = by_row.setdefault(s.row, RowChange())
        if s.kind == ADD:
            change.added[s.label] = s.sureness**2 if soft else 1.0
        elif soft:
            change.doubted[s.label] = DOUBTED_CONFIDENCE
        else:
            change.removed.add(s.label)
    return by_row


def _require_own(corpus: Corpus, suggestions: Sequence[SuggestedChange]) -> None:
    own, index = corpus_key(corpus), corpus.labels.index
    where = corpus.report.path or "corpus"
    for s in suggestions:
        if s.corpus != own:
            raise DataError(
                f"{where}: suggestion {s.id} was made for another corpus ({s.corpus}, this is "
                f"{own}); give the file that was audited, unchanged, and name the same columns"
            )
        if s.row >= corpus.num_instances or s.label not in index:
            raise DataError(
                f"{where}: suggestion {s.id} is about row {s.row}, label {s.label!r}; the corpus "
                f"has {corpus.num_instances} rows and lacks one of them: audit it anew"
            )


def _cells(
    places: list[tuple[int, int]],
    shape: tuple[int, ...],
    suggestions: Sequence[SuggestedChange] | None = None,
) -> sp.csr_array:
    """1 at these places, or the confidence that suggestions to add come with."""
    rows, columns = np.array(places, np.int64).reshape(-1, 2).T
    cells = sp.csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
    cells.data[:] = 1
    if suggestions is None:
        return cells
    confidences = np.array([s.sureness for s in suggestions], np.float32) ** 2
    return sp.csr_array((confidences, (rows, columns)), shape=shape)


def write_changes(path: Path, changes: Sequence[SuggestedChange]) -> None:
    """The record: a JSON line for each change, with its score and what it was made for.

    Args:
        path: The file, replaced whole or not at all.
        changes: Changes, a line each.
    """
    with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for s in changes:
            record = {
                "id": s.id, "change": s.kind, "row": s.row, "uid": s.uid, "label": s.label,
                "name": s.name, "score": s.score, "trust": s.trust,
                "probability": s.probability, "corpus": s.corpus,
            }  # fmt: skip
            file.write(json.dumps(record) + "\n")
