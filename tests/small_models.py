"""Saved models of every kind, small: what tests damage, open and ask."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import scipy.sparse as sp

from tests.deep_models import joined, names_in
from tests.small_corpora import make_rows, small_params, write_rows
from xrt import XRLinear
from xrt.applications.attributes.catalogue_training import train_attributes
from xrt.applications.attributes.data.schema import AttributeSchema
from xrt.applications.attributes.demo import write_attribute_demo
from xrt.applications.attributes.settings import AttributeSettings
from xrt.data.formats import read_corpus
from xrt.demo.catalogue import DemoParams
from xrt.fusion.frequencies import LabelFrequencies
from xrt.fusion.fusion import fit_fusion
from xrt.pipeline import DatasetParams, PipelineParams, train
from xrt.sources import faiss_index
from xrt.sources.neighbours import SparseNeighbours
from xrt.sparse import as_csr
from xrt.storage.artifact import write_artifact
from xrt.tree.clustering import MatcherTreeParams, TreeParams


def save_rows_model(folder: Path) -> Path:
    """A model of rows of 16 features instead of texts, with weights of two bytes."""
    rows = np.arange(64)
    X_NF, Y_NL = np.zeros((64, 16), np.float32), np.zeros((64, 8), np.float32)
    X_NF[rows, 2 * (rows % 8)] = X_NF[rows, 2 * (rows % 8) + 1] = 1
    Y_NL[rows, rows % 8] = 1
    settings = {"branching": 2, "max_leaf_size": 2, "num_threads": 1}
    estimator = XRLinear(**settings, half=True)
    return estimator.fit(sp.csr_array(X_NF), sp.csr_array(Y_NL)).save(folder)


def save_fused_model(folder: Path) -> Path:
    """Two trees, votes of neighbours and names of labels: fused by boosted trees, calibrated."""
    corpus = read_corpus(write_rows(folder.parent / "fused.jsonl", make_rows(500, 0)))
    shape = {"branching": 2, "max_leaf_size": 4, "num_threads": 1, "num_trees": 2}
    estimator = XRLinear(**shape, fused=True, validation_rows=150).fit(corpus)
    model = estimator.model_
    X_NF, seen = model.rows_of(corpus.texts), slice(0, 300)
    memory = SparseNeighbours(X_NF[seen], corpus.Y[seen])
    held_out = [str(text) for text in corpus.texts[300:]]
    sources = {
        "linear": model.score_sources(model.source_rows(held_out))["linear"],
        "neighbours": memory.vote(X_NF[300:], 50),
    }
    counts_L = np.bincount(corpus.Y.indices, minlength=len(model.labels))
    fusion = fit_fusion(sources, as_csr(corpus.Y[300:]), counts_L, boosted=True)
    assert fusion.booster is not None
    fusion = replace(fusion, weights={"linear": 0.6, "neighbours": 0.3, "label_names": 0.1})
    frequencies = model.frequencies or LabelFrequencies(counts_L, corpus.num_instances)
    names = names_in(model, [id.lower() for id in model.labels.ids])
    whole = joined(model, memory, names, fusion=fusion, frequencies=frequencies)
    training = {"num_rows": 500, "num_labels": len(model.labels)}
    write_artifact(folder, whole.save, {"kind": "linear", "training": training})
    return folder


def save_deep_model(folder: Path, exact_up_to: int = faiss_index.EXACT_UP_TO) -> Path:
    """An encoder of random weights, with a head and neighbours, whose FAISS indexes have cells
    above so many vectors.
    """
    trn = write_rows(folder.parent / "deep.jsonl", make_rows(140, 0))
    params = small_params(
        trn,
        tree=TreeParams(branching=2, max_leaf_size=2),
        matcher_tree=MatcherTreeParams(max_leaf_size=4),
    )
    with patch.object(faiss_index, "EXACT_UP_TO", exact_up_to):
        return train(params, folder.parent / "deep-run").model_folder


def save_attribute_model(folder: Path) -> Path:
    """Attributes of a small catalogue, with a hierarchy."""
    write_attribute_demo(folder.parent, 400, 20, 0, DemoParams(num_brands=35))
    params = PipelineParams(
        dataset=DatasetParams(name="items", trn=str(folder.parent / "trn.csv")),
        encoder=None,
        num_threads=1,
        validation_rows=80,
    )
    return train_attributes(
        params, AttributeSettings(schema=AttributeSchema()), folder.parent / "attributes-run"
    ).model_folder
