"""Small corpora with known answers, and a guard against the network."""

import os

import numpy as np
import pytest
import scipy.sparse as sp

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

COLOURS = ("red", "green", "blue", "black")
THINGS = ("shirt", "mug", "lamp", "chair")
SIZES = ("small", "large")


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def tiny_corpus() -> tuple[list[str], sp.csr_array, tuple[str, ...]]:
    """Texts, Y (32, 10) and label names: a text has the labels whose words it holds."""
    names = COLOURS + THINGS + SIZES
    texts = [
        f"a {size} {colour} {thing}" for colour in COLOURS for thing in THINGS for size in SIZES
    ]
    Y_NL = np.array([[name in text.split() for name in names] for text in texts], np.float32)
    return texts, sp.csr_array(Y_NL), names


@pytest.fixture(scope="session")
def checkerboard() -> tuple[sp.csr_array, sp.csr_array]:
    """X (64, 16) and Y (64, 8): row n has features 2c and 2c+1 and label c, with c = n mod 8.

    Every label is linearly separable, so a ranker that works ranks the true label first everywhere.
    """
    rows = np.arange(64)
    labels = rows % 8
    X_NF = np.zeros((64, 16), np.float32)
    X_NF[rows, 2 * labels] = X_NF[rows, 2 * labels + 1] = np.sqrt(0.5)
    Y_NL = np.zeros((64, 8), np.float32)
    Y_NL[rows, labels] = 1.0
    return sp.csr_array(X_NF), sp.csr_array(Y_NL)
