"""Suspects as suggestions: what a person needs to judge each of them."""

import numpy as np
import scipy.sparse as sp

from xrt.applications.audit.evidence.evidence_stages import AuditedRows
from xrt.applications.audit.evidence.name_matches import matched_terms
from xrt.applications.audit.suggestions.suggestion import ADD, REMOVE, SuggestedChange
from xrt.applications.audit.suggestions.suspects import MISSING, AssessedPairs, Suspects
from xrt.data.corpus import Corpus
from xrt.sources.votes import Neighbours

SHOWN_NEIGHBOURS = 5
SHOWN_CHARACTERS = 300


def describe(
    suspects: Suspects,
    assessed: AssessedPairs,
    corpus: Corpus,
    rows: AuditedRows,
    neighbours: Neighbours,
    corpus_key: str,
) -> list[SuggestedChange]:
    """A suggestion for each suspect, in their order."""
    kind = ADD if suspects.kind == MISSING else REMOVE
    pairs, evidence = assessed.pairs, assessed.evidence
    suggestions = []
    for place, score in zip(suspects.places_S.tolist(), suspects.scores_S.tolist(), strict=True):
        row, label = int(pairs.rows_P[place]), int(pairs.labels_P[place])
        label_id = corpus.labels.ids[label]
        terms: list[str] = []
        if rows.features is not None:
            terms = matched_terms(rows.X_NF, rows.names_LF, rows.features, row, label)
        suggestions.append(
            SuggestedChange(
                id=f"{kind}:{row}:{label_id}",
                kind=kind,
                corpus=corpus_key,
                row=row,
                uid=None if corpus.ids is None else corpus.ids[row],
                text=None if corpus.texts is None else corpus.texts[row][:SHOWN_CHARACTERS],
                label=label_id,
                name=corpus.labels.names[label],
                score=_rounded(score),
                probability=_rounded(assessed.probability_P[place]),
                linear_probability=_rounded(evidence.probability_P[place]),
                threshold=_rounded(assessed.thresholds_L[label]),
                rank=int(pairs.ranks_P[place]),
                agreement=_rounded(evidence.agreement_P[place]),
                similarity=_rounded(evidence.similarity_P[place]),
                name_in_text=_rounded(evidence.name_P[place]),
                label_rows=int(evidence.counts_P[place]),
                neighbours=_neighbours(row, label, corpus.Y, neighbours),
                matched_terms=tuple(terms),
            )
        )
    return suggestions


def _neighbours(
    row: int, label: int, Y_NL: sp.csr_array, neighbours: Neighbours
) -> tuple[dict[str, object], ...]:
    """The nearest rows, and whether each has the label."""
    rows = []
    for other, similarity in zip(
        neighbours.rows_MW[row, :SHOWN_NEIGHBOURS].tolist(),
        neighbours.similarities_MW[row, :SHOWN_NEIGHBOURS].tolist(),
        strict=True,
    ):
        if other >= 0:
            own = Y_NL.indices[Y_NL.indptr[other] : Y_NL.indptr[other + 1]]
            has = bool(np.any(own == label))
            rows.append({"row": other, "similarity": _rounded(similarity), "has_label": has})
    return tuple(rows)


def _rounded(value: float) -> float:
    return round(float(value), 5)
