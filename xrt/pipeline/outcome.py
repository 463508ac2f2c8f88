"""What a run came to, in a file that runs are compared by: `outcome.json` of its folder.

Figures on held-out training rows, on which settings may be chosen, stand apart from those on the
test file, which are for reporting only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.data.corpus import Corpus
from xrt.evaluate import strike
from xrt.fusion.cross_fitting import criterion_of_rows
from xrt.metrics.judgement import CRITERION
from xrt.pipeline.params import PipelineParams
from xrt.pipeline.trainer import Fitted
from xrt.sparse import as_csr
from xrt.storage.artifact import Artifact
from xrt.storage.atomic import write_json
from xrt.storage.hashing import plain

OUTCOME = "outcome.json"
"""File of a run folder."""
DEPTH = 10


def held_out_figure(fitted: Fitted, corpus: Corpus) -> dict[str, Any] | None:
    """The criterion on held-out training rows, which a search over settings maximises.

    Args:
        fitted: what a training gave.
        corpus: the training corpus.

    Returns:
        The mean by cross-fitting, the standard error of its rows, and how many there are; None
        where no row was held out.
    """
    held = fitted.held_out_scores(DEPTH)
    if fitted.objective is None or held is None:
        return None
    criterion_n = criterion_of_rows(as_csr(corpus.Y[held.rows]), held.scores_NL)
    return {**_mean(criterion_n), "value": fitted.objective}


def test_figure(corpus: Corpus | None, scores_NL: sp.csr_array | None) -> dict[str, Any] | None:
    """The same criterion on the test file.

    Args:
        corpus: the test file; None without one.
        scores_NL: scores of the model that ships; None where it was not measured.

    Returns:
        As `held_out_figure`.
    """
    if corpus is None or scores_NL is None:
        return None
    return _mean(criterion_of_rows(as_csr(corpus.Y), strike(scores_NL, corpus.filters)))


def _mean(criterion_n: np.ndarray) -> dict[str, Any]:
    size = len(criterion_n)
    error = float(criterion_n.std(ddof=1) / np.sqrt(size)) if size > 1 else None
    return {"value": float(criterion_n.mean()), "standard_error": error, "rows": size}


def write_outcome(
    folder: Path,
    params: PipelineParams,
    artifact: Artifact,
    figures: Mapping[str, dict[str, Any] | None],
    stages: Sequence[Mapping[str, Any]],
) -> None:
    """Write `outcome.json`.

    Args:
        folder: the run folder.
        params: settings of the run, with what was chosen.
        artifact: the saved model.
        figures: of `held_out_figure` and `test_figure`, by "held_out" and "test".
        stages: what each stage took when it was made, of `stage_lines`.
    """
    content = {
        "criterion": CRITERION,
        "model": "deep" if artifact.kind == "transformer" else "linear",
        **figures,
        "seconds": round(sum(line["own_seconds"] for line in stages), 3),
        "model_bytes": artifact.num_bytes,
        "settings": asdict(params),
    }
    write_json(folder / OUTCOME, plain(content))
