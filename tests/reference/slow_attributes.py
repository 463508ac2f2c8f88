"""Figures of predicted attribute values as their definitions read, one row at a time.

`given` and `predicted` are lists of rows, each a list of values, -1 for no value.
"""


def choice_scores(true, chosen):
    """Accuracy, and (macro, micro, weighted) of precision, recall and F1, of one attribute."""
    values = {*true, *chosen} - {-1}
    per_value = []
    for value in values:
        right = sum(t == c == value for t, c in zip(true, chosen, strict=True))
        precision = right / chosen.count(value) if value in chosen else 0.0
        recall = right / true.count(value) if value in true else 0.0
        f1 = 2 * precision * recall / (precision + recall) if right else 0.0
        per_value.append((value, (precision, recall, f1)))
    right = sum(t == c for t, c in zip(true, chosen, strict=True))
    num_chosen = sum(c != -1 for c in chosen)
    micro = (
        right / num_chosen if num_chosen else 0.0,
        right / len(true),
        2 * right / (len(true) + num_chosen),
    )
    macro = [sum(scores[i] for _, scores in per_value) / len(values) for i in range(3)]
    weighted = [
        sum(true.count(value) * scores[i] for value, scores in per_value) / len(true)
        for i in range(3)
    ]
    return right / len(true), macro, micro, weighted


def item_accuracy(given, predicted):
    """The share of rows with all given values right, among rows that give one."""
    judged = [(g, p) for g, p in zip(given, predicted, strict=True) if any(v >= 0 for v in g)]
    if not judged:
        return None
    right = sum(
        all(v < 0 or v == w for v, w in zip(g, p, strict=True))
        for g, p in judged
    )  # fmt: skip
    return right / len(judged)


def recall_of(true, chosen, counts, lowest, highest):
    """Recall over rows whose true value was seen `lowest` to `highest` times; None without any."""
    kept = [
        (t, c)
        for t, c in zip(true, chosen, strict=True)
        if lowest <= (counts[t] if t < len(counts) else 0) <= highest
    ]
    return sum(t == c for t, c in kept) / len(kept) if kept else None


def expected_error(probabilities, right, num_bins):
    """ECE: bins of equal width, the last one closed."""
    bins = [[] for _ in range(num_bins)]
    for probability, is_right in zip(probabilities, right, strict=True):
        bins[min(int(probability * num_bins), num_bins - 1)].append((probability, is_right))
    gaps = [
        abs(sum(r for _, r in bin) / len(bin) - sum(p for p, _ in bin) / len(bin)) * len(bin)
        for bin in bins
        if bin
    ]
    return sum(gaps) / len(right)


def sibling_pairs(true, chosen, parents):
    """How often each value is taken for another with the same parent."""
    pairs = {}
    for t, c in zip(true, chosen, strict=True):
        known = 0 <= t < len(parents) and 0 <= c < len(parents)
        if t != c and known and parents[t] == parents[c] >= 0:
            pairs[t, c] = pairs.get((t, c), 0) + 1
    return pairs


def impossible_paths(predicted, seen):
    """Rows whose path was never seen."""
    return sum(tuple(path) not in {tuple(s) for s in seen} for path in predicted)
