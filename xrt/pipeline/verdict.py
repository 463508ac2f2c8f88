"""Whether the deep model is shipped: it must beat the linear one on rows held out of training.

The fusion is fitted on the held-out rows, so the fused model would be flattered there. It
is judged by cross-fitting instead: a fusion fitted on one half ranks the other, and the reverse.
The rule: the mean over rows of (P@1 + nDCG@10) / 2 must be above linear's by at least one standard
error of the rows' differences. Otherwise the linear model, which is cheaper, ships.

The step of the matcher and the lengths of the blocks are chosen among a few on the same rows; these
choices are not cross-fitted, as that would take another training. The margin is there for them too.

N held-out rows, L labels.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from xrt.data.corpus import Corpus
from xrt.data.equal_rows import groups_of
from xrt.data.splits import can_hold_out
from xrt.errors import DataError
from xrt.fusion.cross_fitting import gain_of
from xrt.fusion.fit import cross_fitted_fusion
from xrt.fusion.frequencies import LabelFrequencies
from xrt.fusion.fusion import Fusion
from xrt.fusion.weights import fuse
from xrt.metrics.comparison import MACRO, Comparison, compare
from xrt.metrics.judgement import CRITERION, Judgement, is_better
from xrt.metrics.propensity import PropensityParams
from xrt.pipeline.fusing import FusionFits
from xrt.pipeline.params import PipelineParams
from xrt.pipeline.rows import HeldOut, TrainingRows
from xrt.pipeline.runner import StageRunner
from xrt.sources.registry import BASELINE, SOURCES
from xrt.sparse import top_k_rows
from xrt.storage.atomic import write_json
from xrt.storage.reading import read_json_bounded
from xrt.storage.stages import Hash, Settings, Stage, Workspace

logger = logging.getLogger(__name__)

GUARDED = ("PSP@5", MACRO)
"""Figures that the rule does not look at; told where the deep model is lower."""
WITHOUT_ENCODER = frozenset(n for n, kind in SOURCES.items() if not kind.uses_embeddings)
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

    @property
    def criterion(self) -> float:
        """(P@1 + nDCG@10) / 2, in [0, 1], of the model that ships, on the held-out rows."""
        figures = self.held_out.deep if self.ships_deep else self.held_out.linear
        return (figures["P@1"] + figures["nDCG@10"]) / 2

    @property
    def judgement(self) -> Judgement:
        """The deep model beside the linear one."""
        linear, deep = (
            (figures["P@1"] + figures["nDCG@10"]) / 2
            for figures in (self.held_out.linear, self.held_out.deep)
        )
        return Judgement(
            name="the deep model, fused", plain_name="the linear model", figure=CRITERION,
            plain=linear, learnt=deep, error=self.standard_error, ships=self.ships_deep,
            note="always_deep" if self.ships_deep and not self.deep_wins else "",
        )  # fmt: skip

    def added_on(self, tested: Comparison | None = None) -> dict[str, Comparison]:
        """What the encoder added, by the rows it was measured on.

        Args:
            tested: the comparison on the test file; None without one.

        Returns:
            The comparison on held-out rows, then that on test rows, by a description of the rows.
        """
        found = {f"{self.held_out.num_rows:,} held-out training rows": self.held_out}
        return found if tested is None else found | {f"{tested.num_rows:,} test rows": tested}

    def summary(self) -> dict[str, Any]:
        """Plain values without the figures, for a manifest.

        Returns:
            Values by name, with the number of held-out rows.
        """
        content = {name: value for name, value in asdict(self).items() if name != "held_out"}
        return {"num_rows": self.held_out.num_rows, **content}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        Returns:
            Values by name.
        """
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave.

        Args:
            content: what `to_dict` gave.

        Returns:
            The verdict.
        """
        return cls(**{**content, "held_out": Comparison.from_dict(content["held_out"])})


def give_verdict(
    sources: Mapping[str, sp.csr_array],
    fusion: Fusion,
    Y_true: sp.csr_array,
    train_label_counts: np.ndarray,
    num_train: int,
    propensity: PropensityParams | None = None,
    seed: int = 0,
    always_deep: bool = False,
) -> Verdict:
    """Judge the sources on rows that none was trained on.

    Figures are those of fusions fitted on the other half of these rows.

    Args:
        sources: scores (N, L) of each source, of which `linear` is one.
        fusion: what would ship, fitted on all these rows.
        Y_true: labels of the rows, (N, L).
        train_label_counts: rows of each label among those that sources were trained on, (L,).
        num_train: number of those rows.
        propensity: parameters of the propensity-scored metrics; None for the defaults.
        seed: seed of the halves.
        always_deep: the deep model ships even where it does not win.

    Returns:
        The verdict.

    Raises:
        DataError: matrices and counts do not belong together.
    """
    linear_NL = fuse(sources, {BASELINE: 1.0}, 10)
    frequencies = LabelFrequencies(train_label_counts, num_train)
    boosted = fusion.booster is not None
    deep_NL = top_k_rows(cross_fitted_fusion(sources, Y_true, frequencies, seed, boosted), 10)
    held_out = compare(Y_true, linear_NL, deep_NL, train_label_counts, num_train, propensity)
    gain, error = gain_of(Y_true, deep_NL, linear_NL)
    used = set(fusion.sources)
    deep_wins = used != {BASELINE} and is_better(gain, error)
    return Verdict(
        held_out=held_out,
        gain=gain,
        standard_error=error,
        deep_wins=deep_wins,
        ships_deep=deep_wins or always_deep,
        message=_message(held_out, gain, error, used, deep_wins, always_deep),
    )


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
        found += "a single row gives the difference no standard error; give more training rows"
    else:
        found += f"the difference of {100 * gain:+.2f} has a standard error of {100 * error:.2f}"
    if used <= WITHOUT_ENCODER:
        verb = "have" if len(used) > 1 else "has"
        found += f"; only {' and '.join(sorted(used))} {verb} weight, no source uses the encoder"
    lower = [
        f"{name} {100 * held_out.deep[name]:.2f} against {100 * held_out.linear[name]:.2f}"
        for name in held_out.lower(GUARDED)
    ]
    if lower:
        found += f"; the deep model is lower in {' and '.join(lower)}"
    if deep_wins:
        return f"{found}. The deep model is saved"
    if always_deep:
        return f"{found}. The deep model is saved since always_deep is set"
    return f"{found}. The linear model is saved"


VERDICT = Stage[Verdict](
    "verdict", 3, ("seed", "always_deep", "dataset.propensity"),
    save=lambda verdict, folder: write_json(folder / "verdict.json", verdict.to_dict()),
    load=lambda folder: Verdict.from_dict(read_json_bounded(folder / "verdict.json")),
)  # fmt: skip


def reach_verdict(
    runner: StageRunner,
    rows: TrainingRows,
    held: HeldOut,
    fits: FusionFits,
    inputs: Mapping[str, Hash],
) -> Verdict:
    """Stage 9: the verdict on the held-out rows, from the scores that fusion was chosen on.

    Args:
        runner: runs the stage.
        rows: the training rows.
        held: rows to train on, and the held-out rows.
        fits: the fusion with the scores of the sources.
        inputs: hashes of labels, held-out rows and fusion.

    Returns:
        The verdict, which is in the log, too.
    """
    train_counts_L = np.bincount(
        rows.corpus.Y[held.train].indices, minlength=rows.corpus.num_labels
    )

    def make(settings: Settings, workspace: Workspace) -> Verdict:
        return give_verdict(
            fits.sources, fits.fused.fusion, rows.labels_of(held.validation), train_counts_L,
            len(held.train), settings["dataset.propensity"], settings["seed"],
            settings["always_deep"],
        )  # fmt: skip

    verdict = runner.run(VERDICT, make, inputs).value
    is_clear = verdict.deep_wins and not verdict.held_out.lower(GUARDED)
    logger.log(logging.INFO if is_clear else logging.WARNING, "%s", verdict.message)
    return verdict


def require_held_out(params: PipelineParams, corpus: Corpus) -> None:
    """Check that a row can be held out to judge an encoder.

    Args:
        params: settings of the run; without an encoder nothing is checked.
        corpus: the training corpus.

    Raises:
        DataError: an encoder is set, and not one row can be held out.
    """
    if params.encoder is None:
        return
    groups_N = groups_of(corpus) if corpus.groups is None else corpus.groups
    if not can_hold_out(corpus.Y, groups_N):
        raise no_held_out_rows(corpus)


def no_held_out_rows(corpus: Corpus) -> DataError:
    """What is raised where an encoder is set and no row can be held out to judge it.

    Args:
        corpus: the training corpus.

    Returns:
        The error.
    """
    num_labelled = int((np.diff(corpus.Y.indptr) > 0).sum())
    return DataError(
        f"{corpus.report.path or 'the corpus'}: no row can be held out to judge the encoder: of "
        f"{corpus.num_instances} rows {num_labelled} have a label, and those are all alike, or "
        "more than half of them stay together; give more rows",
        settings={"encoder=none": "to train a linear model"},
    )
