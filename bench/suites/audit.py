"""How much known damage an audit finds, beside cleanlab, and what repairing it is worth.

    python -m bench audit recover --trn TRN --folder RUN --output audit.jsonl
    python -m bench audit dense --trn TRN --folder RUN --labels 2000 --output DENSE.npz
    python -m bench audit cleanlab --dense DENSE.npz --peer-python CLEANLAB --output audit.jsonl
    python -m bench audit repair --trn TRN --tst TST --folder RUN --output audit.jsonl

`recover` removes and adds labels (--removed, --added, --by-frequency, --seed), audits the result
and gives the average precision of several rankings of the suspects, with process and wall time and
the machine's load at each stage. `dense` writes the linear out-of-fold probabilities of the
--labels most frequent labels as a matrix, for `cleanlab`, and gives our figures on it. `repair`
trains XRLinear on clean, damaged and repaired labels and gives P@5 of the test file, which chooses
nothing. Stages of an earlier command in the same folder are used again.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.stats import rankdata

from bench.clock import Laps
from bench.peers import add_interpreters, interpreters
from bench.record import Line, append_line
from bench.runs import run_child
from xrt import read_corpus
from xrt.applications.audit.audit_params import AuditParams
from xrt.applications.audit.correction.applying import apply_suggestions, soften
from xrt.applications.audit.evidence.evidence_stages import (
    AuditedRows,
    make_rows,
    score_rows,
    similar_rows,
)
from xrt.applications.audit.self_test import (
    Damaged,
    chosen,
    damage,
    precision_at_5,
    ranked_recovery,
    won_back,
)
from xrt.applications.audit.suggestions.suggestion import corpus_key
from xrt.applications.audit.suggestions.suspects import (
    AssessedPairs,
    assess_pairs,
    describe,
    suspected_missing,
    suspected_wrong,
)
from xrt.progress import RichProgress
from xrt.sources.votes import Neighbours
from xrt.sparse import as_csr, binarize

TREE_SEEDS = (0, 1, 2, 3, 4)
NEEDED = {
    "recover": ("trn", "folder"), "dense": ("trn", "folder"), "cleanlab": ("dense",),
    "repair": ("trn", "tst", "folder"),
}  # fmt: skip
"""Arguments of each command that have no default."""


def main(arguments: Sequence[str]) -> int:
    """Run one command and append a JSON line. Returns the exit status."""
    args = parse_arguments(arguments)
    if args.command == "cleanlab":
        return run_cleanlab(args)
    clock = Laps()
    clean = read_corpus(args.trn)
    damaged = damage(
        clean, args.removed, args.added, by_frequency=args.by_frequency, seed=args.seed
    )
    clock.lap("read")
    params = AuditParams(folds=args.folds, seed=args.seed)
    rows, neighbours, assessed = assessed_of(damaged, args.folder, params, clock)
    line: Line = {
        "command": args.command, "corpus": f"{args.trn.parent.name}/{args.trn.name}",
        "rows": clean.num_instances, "labels": clean.num_labels, "removed": args.removed,
        "added": args.added, "by_frequency": args.by_frequency, "seed": args.seed,
    }  # fmt: skip
    if args.command == "recover":
        line |= recover(damaged, assessed, params)
    elif args.command == "dense":
        line |= dense(damaged, assessed, args.num_labels, args.output)
    else:
        line |= repair(clean, damaged, rows, neighbours, assessed, params, args.tst)
    clock.lap(args.command)
    line["stages"] = clock.laps
    print(json.dumps(line, indent=2))
    append_line(None if args.command == "dense" else args.output, line)
    return 0


def run_cleanlab(args: argparse.Namespace) -> int:
    """Cleanlab's ranking of the cells that `dense` wrote, as a JSON line."""
    python = interpreters(args.peer_python, ["cleanlab"])["cleanlab"]
    with tempfile.TemporaryDirectory(prefix="benchmark-cleanlab-") as out:
        line = run_child(
            python, "bench.peers.cleanlab", [str(args.dense), out], Path(out), 1, args.timeout
        )
    print(json.dumps(line, indent=2))
    append_line(args.output, line)
    return 1 if "error" in line else 0


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("command", choices=["recover", "dense", "cleanlab", "repair"])
    parser.add_argument("--trn", type=Path)
    parser.add_argument("--tst", type=Path)
    parser.add_argument("--folder", type=Path, help="folder of the audit's stages")
    parser.add_argument("--dense", type=Path, help="what the command dense wrote")
    add_interpreters(parser)
    parser.add_argument("--timeout", type=float, default=20_000, help="seconds for cleanlab")
    parser.add_argument("--removed", type=float, default=0.10)
    parser.add_argument("--added", type=float, default=0.05)
    parser.add_argument("--by-frequency", action="store_true")
    parser.add_argument("--labels", type=int, default=2_000, dest="num_labels")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args(arguments)
    for name in NEEDED[args.command]:
        if getattr(args, name) is None:
            parser.error(f"{args.command}: --{name} is missing")
    return args


def assessed_of(
    damaged: Damaged, folder: Path, params: AuditParams, clock: Laps
) -> tuple[AuditedRows, Neighbours, AssessedPairs]:
    """The stages of an audit, timed."""
    corpus, progress = damaged.corpus, RichProgress()
    rows = make_rows(folder, corpus, progress)
    clock.lap("rows")
    scores, fold_N = score_rows(folder, corpus, rows, params, progress)
    clock.lap("folds")
    neighbours = similar_rows(folder, rows, params, progress)
    clock.lap("neighbours")
    Y_NL = binarize(as_csr(corpus.Y))
    assessed = assess_pairs(scores, rows.X_NF, Y_NL, rows.names_LF, neighbours, fold_N, params)
    clock.lap("judge")
    return rows, neighbours, assessed


def recover(damaged: Damaged, assessed: AssessedPairs, params: AuditParams) -> dict[str, Any]:
    """Average precision of several rankings of all pairs looked at, and of what is suggested."""
    pairs, evidence = assessed.pairs, assessed.evidence
    removed, added = hits_of(pairs_of(assessed), damaged)
    product = evidence.probability_P * (0.1 + evidence.agreement_P) * (0.3 + evidence.name_P)
    against = (1 - evidence.probability_P) * (1.1 - evidence.agreement_P) * (1.3 - evidence.name_P)
    rankings = {
        "missing": {
            "linear probability": evidence.probability_P, "fixed product": product,
            "all evidence": assessed.probability_P,
            "margin over threshold": assessed.probability_P - assessed.thresholds_L[pairs.labels_P],
        },
        "wrong": {
            "linear probability": 1 - evidence.probability_P, "fixed product": against,
            "all evidence": 1 - assessed.probability_P, "decoys": assessed.decoy_P,
        },
    }  # fmt: skip
    figures: dict[str, Any] = {}
    for kind, hits_P, cells_NL, here_P in (
        ("missing", removed, damaged.removed_NL, ~pairs.given_P),
        ("wrong", added, damaged.added_NL, pairs.given_P),
    ):
        figures[kind] = {"damage": int(cells_NL.nnz)}
        for name, scores_P in rankings[kind].items():
            order = np.argsort(-scores_P[here_P], kind="stable")
            figures[kind][name] = ranked_recovery(hits_P[here_P][order], cells_NL.nnz)
    for suspects, hits_P, cells_NL in (
        (suspected_missing(assessed, params), removed, damaged.removed_NL),
        (suspected_wrong(assessed, params), added, damaged.added_NL),
    ):
        figures[suspects.kind]["suggested"] = ranked_recovery(
            hits_P[suspects.places_S], cells_NL.nnz
        )
    return figures


def pairs_of(assessed: AssessedPairs) -> tuple[np.ndarray, np.ndarray]:
    """Rows and labels of the pairs."""
    return assessed.pairs.rows_P, assessed.pairs.labels_P


def hits_of(places: tuple[np.ndarray, np.ndarray], damaged: Damaged) -> list[np.ndarray]:
    """Which pairs were removed, and which were added: bool (P,)."""
    rows_P, labels_P = places
    num_labels = damaged.removed_NL.shape[1]
    keys_P = rows_P.astype(np.int64) * num_labels + labels_P
    return [
        np.isin(keys_P, cells.row.astype(np.int64) * num_labels + cells.col)
        for cells in (damaged.removed_NL.tocoo(), damaged.added_NL.tocoo())
    ]


def dense(
    damaged: Damaged, assessed: AssessedPairs, num_labels: int, output: Path
) -> dict[str, Any]:
    """Write linear probabilities of the most frequent labels as a matrix; ours on those cells.

    Labels that were not among the best of a row have probability 0 there.
    """
    Y_NL = binarize(as_csr(damaged.corpus.Y))
    counts_L = np.bincount(Y_NL.indices, minlength=Y_NL.shape[1])
    columns = np.sort(np.argsort(-counts_L, kind="stable")[:num_labels])
    matrices = [
        as_csr(sp.csc_array(m)[:, columns]) for m in (Y_NL, damaged.removed_NL, damaged.added_NL)
    ]
    rows = np.flatnonzero(np.diff(as_csr(matrices[0] + matrices[1]).indptr))
    pairs = assessed.pairs
    truth = matrices[1][rows].toarray() + matrices[2][rows].toarray() > 0
    given_NL = matrices[0][rows].toarray() > 0
    figures: dict[str, Any] = {"rows_kept": len(rows), "labels_kept": len(columns)}
    scores = {}
    for name, values_P in (
        ("linear", assessed.evidence.probability_P), ("all", assessed.probability_P),
        ("decoy", assessed.decoy_P),
    ):  # fmt: skip
        cells = sp.csc_array((values_P, (pairs.rows_P, pairs.labels_P)), shape=Y_NL.shape)
        scores[name] = as_csr(cells[:, columns])[rows].toarray().astype(np.float32)
    np.savez(output, linear=scores["linear"], given=given_NL, truth=truth)
    wrong_ranks = np.zeros(given_NL.shape, np.float32)
    wrong_ranks[given_NL] = rankdata(1 - scores["all"][given_NL]) + rankdata(
        scores["decoy"][given_NL]
    )
    for name, missing, wrong in (
        ("self-confidence of the linear probability", scores["linear"], 1 - scores["linear"]),
        ("all evidence", scores["all"], 1 - scores["all"]),
        ("as xrt audit ranks them", scores["all"], wrong_ranks),
    ):
        figures[name] = {
            kind: ranked_recovery(ordered(values[cells], truth[cells]), int(truth[cells].sum()))
            for kind, values, cells in (("missing", missing, ~given_NL), ("wrong", wrong, given_NL))
        }
    return figures


def ordered(scores: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """Hits in the order of falling scores."""
    return hits[np.argsort(-scores, kind="stable")]


def repair(
    clean: Any,
    damaged: Damaged,
    rows: AuditedRows,
    neighbours: Neighbours,
    assessed: AssessedPairs,
    params: AuditParams,
    tst: Path,
) -> dict[str, Any]:
    """P@5 on the test file of XRLinear of clean, damaged, repaired and softened labels, the mean of
    TREE_SEEDS: one tree differs from the next by as much as there is to win.
    """
    key = corpus_key(damaged.corpus)
    suggestions = [
        suggestion
        for suspects in (suspected_missing(assessed, params), suspected_wrong(assessed, params))
        for suggestion in describe(suspects, assessed, damaged.corpus, rows, neighbours, key)
    ]
    followed = chosen(suggestions, params)
    test = read_corpus(tst, labels=clean.labels)
    corpora = {
        "clean": clean,
        "damaged": damaged.corpus,
        "repaired": apply_suggestions(damaged.corpus, followed).corpus,
        "softened": soften(damaged.corpus, suggestions).corpus,
    }
    figures = {
        name: round(float(np.mean([
            precision_at_5(corpus, test, replace(params, seed=seed)) for seed in TREE_SEEDS
        ])), 5)
        for name, corpus in corpora.items()
    }  # fmt: skip
    kinds = [suggestion.kind for suggestion in followed]
    return {
        "P@5": figures, "won_back": won_back(figures),
        "changes": {kind: kinds.count(kind) for kind in set(kinds)},
    }  # fmt: skip
