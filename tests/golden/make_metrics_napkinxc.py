"""Writes metrics_napkinxc.json: napkinXC's figures for a small random problem.

Run it in an environment that has napkinxc (here: 0.7.2):

    python tests/golden/make_metrics_napkinxc.py

Rows have 0 to 6 true labels and 0 to 12 predictions, scores are all different in a row (napkinXC's
sort is not stable, so ties are left to our own tests), and some labels never occur.
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
from napkinxc import metrics as napkin
from scipy.sparse import csr_matrix

TARGET = Path(__file__).with_name("metrics_napkinxc.json")
NUM_ROWS, NUM_LABELS, NUM_TRAIN, K = 60, 40, 5000, 5


def random_problem():
    """Truth and predictions (best first) as lists of labels, and training counts."""
    rng = np.random.default_rng(20)
    popularity = 1.0 / np.arange(1, NUM_LABELS - 3)  # the last four labels never occur
    popularity /= popularity.sum()
    truth, ranked = [], []
    for row in range(NUM_ROWS):
        labels = rng.choice(len(popularity), rng.integers(0, 7), replace=False, p=popularity)
        noise = rng.choice(len(popularity), rng.integers(0, 7), replace=False)
        guesses = [] if row % 10 == 7 else list(dict.fromkeys([*labels, *noise]))
        rng.shuffle(guesses)
        truth.append(sorted(map(int, labels)))
        ranked.append([int(label) for label in guesses])
    train_counts = np.floor(2000 * np.arange(1, NUM_LABELS + 1) ** -1.3).astype(int)
    return truth, ranked, train_counts.tolist()


def matrices(truth, ranked):
    """The same as CSR matrices; scores fall from 1 by 0.01 a rank."""
    Y, scores = np.zeros((NUM_ROWS, NUM_LABELS)), np.zeros((NUM_ROWS, NUM_LABELS))
    for row in range(NUM_ROWS):
        Y[row, truth[row]] = 1
        scores[row, ranked[row]] = 1 - 0.01 * np.arange(len(ranked[row]))
    return csr_matrix(Y), csr_matrix(scores)


def main():
    """Compute and write."""
    truth, ranked, train_counts = random_problem()
    Y, scores = matrices(truth, ranked)
    # napkinXC counts the labels of a matrix; this one has the wanted column sums
    Y_train = np.arange(NUM_TRAIN)[:, None] < np.array(train_counts)[None, :]
    weights = np.asarray(napkin.Jain_et_al_inverse_propensity(Y_train.astype(float)))
    figures = {
        "inverse_propensity": weights,
        "P": napkin.precision_at_k(Y, scores, k=K),
        "R": napkin.recall_at_k(Y, scores, k=K),
        "nDCG": napkin.ndcg_at_k(Y, scores, k=K),
        "PSP": napkin.psprecision_at_k(Y, scores, weights, k=K),
        "PSnDCG": napkin.psndcg_at_k(Y, scores, weights, k=K),
        "coverage": napkin.coverage_at_k(Y, scores, k=K),
        "macro-F1": napkin.macro_f1_measure_at_k(Y, scores, k=K),
        "micro-F1": [
            napkin.micro_f1_measure(truth, [r[:k] for r in ranked]) for k in range(1, K + 1)
        ],
        "samples-F1": [
            napkin.samples_f1_measure(truth, [r[:k] for r in ranked]) for k in range(1, K + 1)
        ],
    }
    record = {
        "made_by": f"napkinxc {version('napkinxc')}, tests/golden/make_metrics_napkinxc.py",
        "num_labels": NUM_LABELS,
        "num_train": NUM_TRAIN,
        "train_counts": train_counts,
        "truth": truth,
        "ranked": ranked,
        "napkinxc": {name: [float(value) for value in values] for name, values in figures.items()},
    }
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in record.items()]
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
