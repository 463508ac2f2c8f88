"""Whether the deep model is shipped: it must beat the linear one on rows held out of training.

The fusion weights are chosen on the held-out rows, so the fused model would be flattered there. It
is judged by cross-fitting instead: weights chosen on one half rank the other half, and the reverse.
The rule: the mean over rows of (P@1 + nDCG@10) / 2 must be above linear's by at least one standard
error of the rows' differences. Otherwise the linear model, which is cheaper, ships.

The step of the matcher and the lengths of the blocks are chosen among a few on the same rows; these
choices are not cross-fitted, as that would take another training. The margin is there for them too.

N held-out rows, L labels.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from xrt.atomic import write_json
from xrt.data.corpus import Corpus
from xrt.data.splits import Split
from xrt.errors import DataError
from xrt.metrics.comparison import MACRO, Comparison, compare
from xrt.metrics.propensity import PropensityParams
from xrt.metrics.ranking import judge, ndcg_of_rows
from xrt.pipeline.fit import StageRunner
from xrt.pipeline.params import PipelineParams
from xrt.reading import read_json_bounded
from xrt.search.fusion import fit_weights, fuse
from xrt.sparse import as_csr, load_csr
from xrt.stages import read_stage

logger = logging.getLogger(__name__)

GUARDED = ("PSP@5", MACRO)
"""Figures that the rule does not look at; told where the deep model is lower."""
WITHOUT_ENCODER = frozenset({"linear", "neighbours"})
"""Sources that look at TF-IDF only."""
NEXT_STEPS = (
    "train longer (matcher.num_epochs), a larger encoder (encoder=bert_base), more rows; "
    "or always_deep=true to save the deep model all the same"
)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The linear model and the fused deep one on the held-out rows, and which of them ships.

    `gain` is how far the criterion is above linear's, of 1; `standard_error` that of the rows'
    differences, None for a single row. `ships_deep` is `deep_wins`, or True because the settings
    say so.
    """

    held_out: Comparison
    gain: float
    standard_error: float | None
    deep_wins: bool
    ships_deep: bool
    message: str

    def added_on(self, tested: Comparison | None = None) -> dict[str, Comparison]:
        """What the encoder added, by the rows it was measured on: those held out, and the test
        rows where they are given.
        """
        found = {f"{self.held_out.num_rows:,} held-out training rows": self.held_out}
        return found if tested is None else found | {f"{tested.num_rows:,} test rows": tested}

    def summary(self) -> dict[str, Any]:
        """Plain values without the figures, for a manifest."""
        content = {name: value for name, value in asdict(self).items() if name != "held_out"}
        return {"num_rows": self.held_out.num_rows, **content}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave."""
        return cls(**{**content, "held_out": Comparison.from_dict(content["held_out"])})


def give_verdict(
    sources: Mapping[str, sp.csr_array],
    weights: Mapping[str, float],
    Y_true: sp.csr_array,
    train_label_counts: np.ndarray,
    num_train: int,
    propensity: PropensityParams | None = None,
    seed: int = 0,
    always_deep: bool = False,
) -> Verdict:
    """Judge the sources (N, L), of which `linear` is one, on rows that none was trained on.

    `weights` are those that would ship, chosen on all these rows; figures are those of weights
    chosen on the other half. Counts (L,) are of the `num_train` rows that sources were trained on.
    Raises DataError when matrices and counts do not belong together.
    """
    linear_NL = fuse(sources, {"linear": 1.0}, 10)
    deep_NL = cross_fitted(sources, weights, Y_true, seed)
    held_out = compare(Y_true, linear_NL, deep_NL, train_label_counts, num_train, propensity)
    gain_N = criterion_of_rows(Y_true, deep_NL) - criterion_of_rows(Y_true, linear_NL)
    gain = float(gain_N.mean())
    error = float(gain_N.std(ddof=1) / np.sqrt(len(gain_N))) if len(gain_N) > 1 else None
    used = {name for name, weight in weights.items() if weight > 0}
    deep_wins = used != {"linear"} and error is not None and gain > 0 and gain >= error
    return Verdict(
        held_out=held_out,
        gain=gain,
        standard_error=error,
        deep_wins=deep_wins,
        ships_deep=deep_wins or always_deep,
        message=_message(held_out, gain, error, used, deep_wins, always_deep),
    )


def cross_fitted(
    sources: Mapping[str, sp.csr_array],
    weights: Mapping[str, float],
    Y_true: sp.csr_array,
    seed: int,
) -> sp.csr_array:
    """Fused scores (N, L), each half of the rows with weights chosen on the other half.

    A single row has no other half and is fused with `weights`.
    """
    num_rows = Y_true.shape[0]
    if num_rows < 2:
        return fuse(sources, weights, 10)
    order = np.random.default_rng(seed).permutation(num_rows)
    first, second = np.sort(order[: num_rows // 2]), np.sort(order[num_rows // 2 :])
    parts = []
    for own, other in ((first, second), (second, first)):
        chosen = fit_weights(_rows(sources, other), as_csr(Y_true[other])).weights
        parts.append(fuse(_rows(sources, own), chosen, 10))
    back = np.argsort(np.concatenate([first, second]))
    return as_csr(sp.vstack(parts, format="csr")[back])


def _rows(sources: Mapping[str, sp.csr_array], rows: np.ndarray) -> dict[str, sp.csr_array]:
    return {name: as_csr(scores_NL[rows]) for name, scores_NL in sources.items()}


def criterion_of_rows(Y_true: sp.csr_array, scores_NL: sp.csr_array) -> np.ndarray:
    """(P@1 + nDCG@10) / 2 of each row: float64 (N,)."""
    judged = judge(Y_true, scores_NL, 10)
    criterion_N: np.ndarray = (judged.hits_NK[:, 0] + ndcg_of_rows(judged)[:, 9]) / 2
    return criterion_N


def _message(
    held_out: Comparison,
    gain: float,
    error: float | None,
    used: set[str],
    deep_wins: bool,
    always_deep: bool,
) -> str:
    """One sentence on what was found, one on what is saved."""
    linear, deep = (
        50 * (figures["P@1"] + figures["nDCG@10"]) for figures in (held_out.linear, held_out.deep)
    )
    rows = f"{held_out.num_rows:,} held-out row{'s' if held_out.num_rows > 1 else ''}"
    found = f"On {rows} the deep model scores {deep:.2f}, the linear one {linear:.2f}"
    found += " (mean of P@1 and nDCG@10, percent); "
    if error is None:
        found += "one row tells nothing"
    else:
        found += f"the difference of {100 * gain:+.2f} has a standard error of {100 * error:.2f}"
    if used <= WITHOUT_ENCODER:
        verb = "have" if len(used) > 1 else "has"
        found += f"; only {' and '.join(sorted(used))} {verb} weight, nothing of the encoder's"
    lower = [
        f"{name} {100 * held_out.deep[name]:.2f} against {100 * held_out.linear[name]:.2f}"
        for name in held_out.lower(GUARDED)
    ]
    if lower:
        found += f"; deep is lower in {' and '.join(lower)}"
    if deep_wins:
        return f"{found}. The deep model is saved"
    if always_deep:
        return f"{found}. The deep model is saved all the same (always_deep)"
    return f"{found}. The linear model is saved"


def reach_verdict(
    runner: StageRunner,
    corpus: Corpus,
    split: Split,
    weights: Mapping[str, float],
    inputs: Mapping[str, str],
) -> Verdict:
    """Stage 9: the verdict on the rows held out, from the scores that fusion was chosen on; told
    in the log.
    """
    params, fusion = runner.params, read_stage(runner.folder, "fusion")
    fitted_L = np.bincount(corpus.Y[split.train].indices, minlength=corpus.num_labels)

    def produce(folder: Path) -> None:
        names = read_json_bounded(fusion.folder / "fusion.json")["weights"]
        sources = {name: load_csr(fusion.folder / "sources", name) for name in names}
        verdict = give_verdict(
            sources, weights, as_csr(corpus.Y[split.validation]), fitted_L, len(split.train),
            params.dataset.propensity, params.seed, params.always_deep,
        )  # fmt: skip
        write_json(folder / "verdict.json", verdict.to_dict())

    settings = {
        "seed": params.seed,
        "always_deep": params.always_deep,
        "propensity": asdict(params.dataset.propensity),
    }
    known = {name: inputs[name] for name in ("labels", "held out")}
    stage = runner.run("verdict", 1, settings, {**known, "fusion": fusion.output_hash}, produce)
    verdict = Verdict.from_dict(read_json_bounded(stage.folder / "verdict.json"))
    all_is_well = verdict.deep_wins and not verdict.held_out.lower(GUARDED)
    logger.log(logging.INFO if all_is_well else logging.WARNING, "%s", verdict.message)
    return verdict


def require_held_out(params: PipelineParams, corpus: Corpus) -> None:
    """Raise DataError when an encoder is set and not one row can be held out to judge it."""
    if params.encoder is None:
        return
    counts_L = np.bincount(corpus.Y.indices, minlength=corpus.num_labels)
    rows = np.repeat(np.arange(corpus.num_instances), np.diff(corpus.Y.indptr))
    if len(np.unique(rows)) == len(np.unique(rows[counts_L[corpus.Y.indices] < 2])):
        raise DataError(
            f"{corpus.report.path or 'the corpus'}: no row can be held out to judge the encoder: "
            f"each of the {corpus.num_instances} rows has no label or is the only one with one of "
            "its labels; say encoder=none, or give more rows"
        )
