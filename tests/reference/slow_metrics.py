"""Metrics as their definitions read, one instance and one rank at a time.

`truth` is a list of sets of labels, `ranked` a list of lists of labels, best first.
"""

from math import log, log2


def precision(truth, ranked, k):
    return sum(len(set(r[:k]) & t) / k for t, r in zip(truth, ranked, strict=True)) / len(truth)


def recall(truth, ranked, k):
    result = [len(set(r[:k]) & t) / len(t) if t else 0 for t, r in zip(truth, ranked, strict=True)]
    return sum(result) / len(truth)


def r_precision(truth, ranked, k):
    result = [
        len(set(r[:k]) & t) / min(k, len(t)) if t else 0 for t, r in zip(truth, ranked, strict=True)
    ]
    return sum(result) / len(truth)


def dcg(gains):
    return sum(gain / log2(rank + 1) for rank, gain in enumerate(gains, start=1))


def ndcg(truth, ranked, k):
    total = 0.0
    for t, r in zip(truth, ranked, strict=True):
        if t:
            total += dcg([label in t for label in r[:k]]) / dcg([1] * min(k, len(t)))
    return total / len(truth)


def coverage(truth, ranked, k):
    result = set().union(*(set(r[:k]) & t for t, r in zip(truth, ranked, strict=True)))
    return len(result) / len(set().union(*truth)) if any(truth) else 0.0


def inverse_propensity(count, num_train, a, b):
    return 1 + (log(num_train) - 1) * (b + 1) ** a * (count + b) ** -a


def psp(truth, ranked, k, weights):
    gained = possible = 0.0
    for t, r in zip(truth, ranked, strict=True):
        gained += sum(weights[label] for label in r[:k] if label in t)
        possible += sum(sorted((weights[label] for label in t), reverse=True)[:k])
    return gained / possible if possible else 0.0


def psndcg(truth, ranked, k, weights):
    gained = possible = 0.0
    for t, r in zip(truth, ranked, strict=True):
        if t:
            ideal = dcg([1] * min(k, len(t)))
            best = sorted((weights[label] for label in t), reverse=True)[:k]
            gained += dcg([weights[label] * (label in t) for label in r[:k]]) / ideal
            possible += dcg(best) / ideal
    return gained / possible if possible else 0.0


def f1(num_correct, num_true, num_predicted):
    return 2 * num_correct / (num_true + num_predicted) if num_true + num_predicted else 0.0


def f1_averages(truth, predicted):
    """micro, macro (labels in a true or predicted set), weighted, samples."""
    pairs = list(zip(truth, predicted, strict=True))
    micro = f1(sum(len(t & p) for t, p in pairs), sum(map(len, truth)), sum(map(len, predicted)))
    per_label, support = {}, {}
    for label in set().union(*truth, *predicted):
        support[label] = sum(label in t for t in truth)
        num_correct = sum(label in t and label in p for t, p in pairs)
        per_label[label] = f1(num_correct, support[label], sum(label in p for p in predicted))
    macro = sum(per_label.values()) / max(len(per_label), 1)
    weighted = sum(per_label[x] * support[x] for x in per_label) / max(sum(support.values()), 1)
    samples = sum(f1(len(t & p), len(t), len(p)) for t, p in pairs) / len(pairs)
    return micro, macro, weighted, samples
