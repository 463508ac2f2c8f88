"""A saved model with anything wrong in it is refused, or answers as before: no crash, no hang, no
exception of a library. Other answers come only from numbers that another model may have, and never
where the manifest tells.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.artifact_mutations import CHANGED, REFUSED, SAME, outcomes, renew_manifest
from tests.small_models import (
    save_attribute_model,
    save_deep_model,
    save_fused_model,
    save_rows_model,
)
from xrt import Predictor, XRLinear
from xrt.errors import ArtifactError
from xrt.storage.artifact import open_artifact

SAVERS: dict[str, Callable[[Path], Path]] = {
    "rows": save_rows_model,
    "fused": save_fused_model,
    "attributes": save_attribute_model,
    "deep": save_deep_model,
    "cells": partial(save_deep_model, exact_up_to=10),
}
COUNTS = {"rows": 1250, "fused": 1750, "attributes": 1250, "deep": 350, "cells": 400}
"""Mutants of each kind of model, 5,000 in all."""


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory, tiny_corpus) -> Path:
    texts, Y, _ = tiny_corpus
    estimator = XRLinear(branching=2, max_leaf_size=3, num_threads=1).fit(texts, Y)
    return estimator.save(tmp_path_factory.mktemp("linear") / "model")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A model of each kind, made once."""
    folders: dict[str, Path] = {}

    def of(kind: str) -> Path:
        if kind not in folders:
            folders[kind] = SAVERS[kind](tmp_path_factory.mktemp(kind) / "model")
        return folders[kind]

    return of


@pytest.mark.parametrize(("keep", "verify"), [(True, True), (False, True), (True, "sizes")])
def test_a_hundred_mutants_do_no_harm(linear: Path, keep: bool, verify: bool | str) -> None:
    counts, faults = outcomes(linear, 0, 40, keep, verify)
    assert not faults, faults[:5]
    assert sum(counts.values()) == 40
    assert counts[REFUSED] > 15
    if keep and verify is True:
        assert CHANGED not in counts


@pytest.mark.slow
@pytest.mark.parametrize("kind", SAVERS)
@pytest.mark.parametrize(
    ("keep", "verify", "share"), [(True, True, 1.0), (False, True, 1.0), (True, "sizes", 0.25)]
)
def test_thousands_of_mutants_do_no_harm(
    saved: Callable[[str], Path], kind: str, keep: bool, verify: bool | str, share: float
) -> None:
    count = round(share * COUNTS[kind])
    counts, faults = outcomes(saved(kind), 10_000, count, keep, verify)
    assert not faults, f"{len(faults)} of {count}: {faults[:20]}"
    assert set(counts) <= {SAME, REFUSED, CHANGED}


def test_a_crafted_weight_is_refused_though_its_manifest_is_right(linear: Path) -> None:
    for level in sorted((linear / "linear").glob("level.*")):
        path = level / "row_columns.npy"
        content = path.read_bytes()
        columns = np.load(path)
        columns[0] = 1300
        np.save(path, columns)
        renew_manifest(linear)
        try:
            open_artifact(linear)
            with pytest.raises(ArtifactError, match=r"columns? .*(out of range|ascend)"):
                Predictor.load(linear)
        finally:
            path.write_bytes(content)
            renew_manifest(linear)
    assert Predictor.load(linear).predict("red shirt")
