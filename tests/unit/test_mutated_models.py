"""A saved model with anything wrong in it is refused, or answers as before: no crash, no hang, no
exception of a library.
"""

from pathlib import Path

import pytest

from tests.artifact_mutations import CHANGED, outcomes
from xrt import XRLinear


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory, tiny_corpus) -> Path:
    texts, Y, _ = tiny_corpus
    estimator = XRLinear(branching=2, max_leaf_size=3, num_threads=1).fit(texts, Y)
    return estimator.save(tmp_path_factory.mktemp("linear") / "model")


@pytest.mark.parametrize(("keep", "verify"), [(True, True), (False, True), (True, "sizes")])
def test_a_hundred_mutants_do_no_harm(linear: Path, keep: bool, verify: bool | str) -> None:
    counts, faults = outcomes(linear, 0, 100, keep, verify)
    assert not faults, faults[:5]
    if keep and verify is True:
        assert not counts.get(CHANGED)
