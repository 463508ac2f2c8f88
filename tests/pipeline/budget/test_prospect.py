"""A plan from an estimate: which stages count as those of trees."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from xrt.data.corpus import Corpus
from xrt.data.labels import LabelTable
from xrt.encoder.params import EncoderParams
from xrt.pipeline.budget import prospect as module
from xrt.pipeline.estimate.stages import estimate
from xrt.pipeline.params import PipelineParams


@pytest.mark.parametrize("choose", [(), ("num_trees",)])
def test_a_tree_takes_its_clusters_and_its_rankers(
    choose: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
):
    """Seconds of other stages, such as those of choices, which come first, are none of a tree."""
    seconds = {"choices": 1000.0, "TF-IDF": 100.0, "label": 6.0, "linear": 12.0, "the": 10.0}

    def told(params: PipelineParams, corpus: Corpus) -> Any:
        plain = estimate(params, corpus, probe=False)
        assert (len(plain.stages) == 5) == bool(choose)
        stages = [stage.taking(seconds[stage.name.replace(",", " ").split()[0]])
                  for stage in plain.stages]  # fmt: skip
        return SimpleNamespace(stages=stages, seconds=1.0)

    monkeypatch.setattr("xrt.pipeline.choosing.aspects.FEWEST_ROWS", 1)  # few rows choose nothing
    monkeypatch.setattr(module, "estimate", told)
    monkeypatch.setattr(module, "plan_for", lambda *arguments, **_: arguments[3])
    corpus = Corpus(
        texts=["red shirt", "blue shirt", "red shoe", "blue shoe"] * 5,
        Y=sp.csr_array(np.tile(np.eye(4, dtype=np.float32), (5, 1))),
        labels=LabelTable.from_ids("abcd"),
    )
    params = PipelineParams(encoder=EncoderParams(), budget="1h", num_trees=3, choose=choose)
    times: Any = module.prospect(params, corpus)
    assert times.tree == pytest.approx((6.0 + 12.0) / 3)
    assert times.fusion == pytest.approx(module.FUSION * times.tree)
