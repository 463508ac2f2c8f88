"""Figures by training frequency as their definition reads: rows that have a label of the bin, with
only such labels true.

`truth` is a list of sets of labels, `ranked` a list of lists of labels, best first; `counts` are
the training rows of each label.
"""

from tests.reference import slow_metrics as slow

BINS = {"0": (0, 0), "1": (1, 1), "2-4": (2, 4), "5-9": (5, 9), "10-49": (10, 49),
        "50-199": (50, 199), "200+": (200, 10**9)}  # fmt: skip


def figures(truth, ranked, weights):
    result = {f"P@{k}": slow.precision(truth, ranked, k) for k in (1, 3, 5)}
    result["R@10"] = slow.recall(truth, ranked, 10)
    result["nDCG@10"] = slow.ndcg(truth, ranked, 10)
    result["PSP@5"] = slow.psp(truth, ranked, 5, weights)
    return result


def by_bin(truth, ranked, counts, weights):
    """Name of each bin that occurs: number of labels, number of pairs, figures."""
    result = {}
    for name, (low, high) in BINS.items():
        own = [{label for label in t if low <= counts[label] <= high} for t in truth]
        rows = [n for n, t in enumerate(own) if t]
        if rows:
            selected = [own[n] for n in rows], [ranked[n] for n in rows]
            num_pairs = sum(len(t) for t in own)
            result[name] = len(set().union(*own)), num_pairs, figures(*selected, weights)
    return result
