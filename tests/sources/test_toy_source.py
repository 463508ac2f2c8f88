"""A sixth source: one class and its place in SOURCES, and a model trains it, asks it, fuses and
explains its scores, saves and loads it.
"""

import ast
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pytest
import scipy.sparse as sp

import xrt
from xrt import Predictor, XRLinear
from xrt.data.corpus import Corpus
from xrt.data.labels import LabelTable
from xrt.errors import ArtifactError, DataError
from xrt.fusion.fusion import Fusion
from xrt.search.beam import SearchParams
from xrt.search.constraints import Constraint
from xrt.sources.base import ModelShape, SourceRows, Training
from xrt.sources.evidence import LabelEvidence, Naming, SourceEvidence
from xrt.sources.registry import SOURCES
from xrt.sparse import as_csr, top_k_rows
from xrt.storage.artifact import write_artifact
from xrt.storage.atomic import save_array
from xrt.storage.reading import load_array
from xrt.storage.saved_values import SavedValues

WORDS = ("lamp", "chair", "table", "mug", "rug", "sofa")


@dataclass(frozen=True, eq=False)
class Prototypes:
    """Scores labels by the cosine to the mean row of the label: (F, L)."""

    means_FL: np.ndarray

    name: ClassVar[str] = "prototypes"
    title: ClassVar[str] = "likeness to the mean row of a label"
    uses_embeddings: ClassVar[bool] = False
    stays_without_weight: ClassVar[bool] = False

    @classmethod
    def fit(cls, training: Training) -> Self | None:
        sums_FL = (training.rows.X.sparse.T @ training.Y_NL).toarray()
        lengths = np.linalg.norm(sums_FL, axis=0)
        return cls(np.asarray(sums_FL / np.where(lengths > 0, lengths, 1), np.float32))

    def score(
        self,
        rows: SourceRows,
        k: int,
        search: SearchParams,
        num_threads: int | None = None,
        constraint: Constraint | None = None,
    ) -> sp.csr_array:
        scores_NL = as_csr(np.clip(rows.X.sparse @ self.means_FL, 0, 1))
        return top_k_rows(scores_NL if constraint is None else constraint.keep(scores_NL), k)

    def score_given(
        self,
        rows: SourceRows,
        pairs_NL: sp.csr_array,
        search: SearchParams,
        num_threads: int | None = None,
    ) -> sp.csr_array:
        every_NL = self.score(rows, self.means_FL.shape[1], search)
        return Constraint(pairs_NL, allows=True).keep(every_NL)

    def explain(
        self,
        rows: SourceRows,
        naming: Naming,
        k: int,
        search: SearchParams,
        num_threads: int | None = None,
    ) -> SourceEvidence:
        return Asked()

    def fault(self, shape: ModelShape) -> str | None:
        fits = self.means_FL.shape == (shape.num_features, shape.num_labels)
        return None if fits else "prototypes of other labels"

    def check(self, num_threads: int | None = None) -> None:
        pass

    def save(self, folder: Path) -> dict[str, Any]:
        save_array(folder / "means.npy", self.means_FL)
        return {"of": "rows"}

    @classmethod
    def load(cls, folder: Path, settings: SavedValues, mmap: bool = True) -> Self:
        assert settings.text("of") == "rows"
        return cls(load_array(folder / "means.npy", np.float32, 2, mmap))


class Asked(SourceEvidence):
    """Says that seven rows were looked at."""

    def label(self, column: int, suggested: bool) -> LabelEvidence:
        return LabelEvidence(voters=1, num_nearest=7)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line that a further source takes."""
    monkeypatch.setitem(SOURCES, Prototypes.name, Prototypes)


def corpus() -> Corpus:
    """Texts of two words, each one of eight words for a label."""
    rng = np.random.default_rng(0)
    pairs = [rng.choice(len(WORDS), 2, replace=False) for _ in range(400)]
    texts = [" ".join(f"{WORDS[i]}{rng.integers(8)}" for i in pair) for pair in pairs]
    Y_NL = np.zeros((len(pairs), len(WORDS)), np.float32)
    for row, pair in enumerate(pairs):
        Y_NL[row, pair] = 1
    return Corpus(texts=texts, Y=as_csr(Y_NL), labels=LabelTable.from_ids(WORDS))


@pytest.mark.usefixtures("registered")
def test_a_source_that_knows_more_is_trained_fused_saved_and_loaded(tmp_path: Path) -> None:
    """Trees that keep no weight but the largest know a word for a label; prototypes all."""
    made = XRLinear(fused=True, threshold=10.0, max_leaf_size=2, num_threads=1).fit(corpus())
    model = made.model_
    assert model.fusion.weights[Prototypes.name] > 0.5
    texts = ["lamp1 of 2026", "sofa5 and rug3"]
    made.save(tmp_path / "m")
    predictor = Predictor.load(tmp_path / "m", num_threads=1)
    assert predictor.predict(texts, 3) == Predictor(model, num_threads=1).predict(texts, 3)
    assert predictor.predict("lamp1 of 2026", 1)[0].label == "lamp"
    predictor.model.source(Prototypes)
    every = predictor.scores(texts, len(WORDS)).toarray()
    np.testing.assert_allclose(predictor.score(texts, WORDS), every, rtol=1e-6)
    text = predictor.explain("lamp1 of 2026", 2).to_text()
    assert "likeness to the mean row of a label (prototypes):" in text
    assert "1 of the 7 nearest rows has it" in text


@pytest.mark.usefixtures("registered")
def test_a_source_of_other_labels_is_refused(tmp_path: Path) -> None:
    model = XRLinear(max_leaf_size=2, num_threads=1).fit(corpus()).model_
    other = Prototypes(np.ones((3, 2), np.float32))
    whole = replace(
        model,
        sources={**model.sources, Prototypes.name: other},
        fusion=Fusion({Prototypes.name: 1.0}),
    )
    write_artifact(tmp_path / "m", whole.save, {"kind": "linear"})
    with pytest.raises(ArtifactError, match="prototypes of other labels"):
        Predictor.load(tmp_path / "m")


def test_a_model_with_an_unknown_source_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = XRLinear(max_leaf_size=2, num_threads=1).fit(corpus()).model_
    with pytest.raises(DataError, match="has no source 'prototypes'"):
        replace(model, fusion=Fusion({Prototypes.name: 1.0})).predict(["lamp"])
    with monkeypatch.context() as patch:
        patch.setitem(SOURCES, Prototypes.name, Prototypes)
        prototypes = Prototypes(np.ones((len(WORDS), len(WORDS)), np.float32))
        whole = replace(model, sources={**model.sources, Prototypes.name: prototypes})
        write_artifact(tmp_path / "m", whole.save, {"kind": "linear"})
    with pytest.raises(ArtifactError, match="source 'prototypes' is unknown; this version has"):
        Predictor.load(tmp_path / "m")


def test_a_model_of_rows_without_trees_is_refused(tmp_path: Path) -> None:
    model = XRLinear(max_leaf_size=2, num_threads=1).fit(np.eye(6), np.eye(6)).model_
    write_artifact(tmp_path / "m", replace(model, sources={}).save, {"kind": "linear"})
    with pytest.raises(ArtifactError, match="neither a vocabulary nor label trees"):
        Predictor.load(tmp_path / "m")


STAGE_TABLES = ("settings", "inputs")
"""What a stage reads: settings and earlier stages have names of their own, some the same."""


def test_no_file_but_its_own_names_a_source() -> None:
    """Nothing compares with the name of a source, or looks one up by it.

    Applications have columns, and estimates have stages, of the same names.
    """
    root = Path(xrt.__file__).parent
    others = {root / "applications", root / "pipeline" / "estimate"}
    named = []
    for path in sorted(root.rglob("*.py")):
        if others & set(path.parents):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            constants: list[ast.expr] = []
            if isinstance(node, ast.Compare):
                constants = [node.left, *node.comparators]
            elif isinstance(node, ast.Subscript):
                of_stage = isinstance(node.value, ast.Name) and node.value.id in STAGE_TABLES
                constants = [] if of_stage else [node.slice]
            inner = (each for value in constants for each in ast.walk(value))
            for each in inner:
                if isinstance(each, ast.Constant) and each.value in SOURCES:
                    named.append(f"{path.relative_to(root)}:{node.lineno}")
    assert named == []
