"""Hooks that an application implements to customise training.

N rows, L labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp

from xrt.data.corpus import Corpus
from xrt.metrics.judgement import Judgement
from xrt.model import XrtModel
from xrt.pipeline.params import PipelineParams
from xrt.report import Table


@dataclass(frozen=True, eq=False)
class HeldOutScores:
    """Training rows (positions, int64) with scores (n, L) by sources that were not trained on them,
    fused and calibrated as the model's are.
    """

    rows: np.ndarray
    scores_NL: sp.csr_array


@dataclass(frozen=True, kw_only=True)
class ApplicationReport:
    """What an application reports of the model that ships, measured on the test file.

    Attributes:
        text: for the terminal.
        content: for report.json.
        tables: of the report page.
        plots: of the report page, as SVG.
        metrics: for the manifest, by name beside the models' own.
        command: how the model is used; {model} stands for its folder.
        judgements: its learnt steps beside their plain alternatives, on held-out rows.
    """

    text: str = ""
    content: Mapping[str, Any] = field(default_factory=dict)
    tables: Sequence[Table] = ()
    plots: Sequence[str] = ()
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    command: str = 'echo "some text" | xrt predict {model} - -k 5'
    judgements: Sequence[Judgement] = ()


class TrainingHooks(Protocol):
    """Hooks an application implements to customise training; called in this order."""

    def corpora(
        self, params: PipelineParams, run_folder: Path
    ) -> tuple[PipelineParams, Corpus, Corpus | None]:
        """The training corpus and the test corpus, with the settings that go with them.

        Args:
            params: settings of the run.
            run_folder: folder for files that are written on the way.

        Returns:
            The settings to train with, the training corpus, and the test corpus, None where there
            is none.
        """

    def candidates(self, corpus: Corpus) -> int:
        """Labels that each source names for a row of the training corpus.

        Args:
            corpus: the training corpus.

        Returns:
            Their number.
        """

    def configuration(self) -> Mapping[str, Any]:
        """The application's settings, for the manifest.

        Returns:
            Plain values by name.
        """

    def learn(self, corpus: Corpus, held_out: HeldOutScores | None) -> None:
        """Learn what goes beyond the scores of labels.

        Args:
            corpus: the training corpus.
            held_out: scores of held-out rows; None where no row could be held out.
        """

    def judge(
        self, model: XrtModel, corpus: Corpus | None, scores_NL: sp.csr_array | None
    ) -> ApplicationReport:
        """Figures of the model that ships.

        Args:
            model: the model that ships.
            corpus: the test corpus; None where there is none.
            scores_NL: its scores of the test corpus, (N, L); None where there is none.

        Returns:
            What is reported.
        """

    def write(self, folder: Path) -> None:
        """Write what prediction needs beside the model.

        Args:
            folder: folder that the model is being written into.
        """
