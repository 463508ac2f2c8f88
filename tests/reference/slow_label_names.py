"""How much of each name stands in each text, with sets and dictionaries of words."""

from collections.abc import Mapping, Sequence


def slow_shares(
    texts: Sequence[set[str]], names: Sequence[set[str]], idf: Mapping[str, float], unknown: float
) -> list[list[float]]:
    """The share of each name in each text: (texts, names). Words without idf weigh `unknown`, and
    stand in no text.
    """
    return [
        [
            sum(idf[word] for word in name & text if word in idf)
            / sum(idf.get(word, unknown) for word in name)
            if name
            else 0.0
            for name in names
        ]
        for text in texts
    ]


def slow_named(
    shares: Sequence[float], weights: Sequence[float], k: int, found: float
) -> dict[int, float]:
    """The `k` labels of a row whose share is at least `found`: by share, then by the weight of the
    name, then the lower label.
    """
    enough = [label for label, share in enumerate(shares) if share >= found - 1e-5]
    best = sorted(enough, key=lambda label: (-round(shares[label], 5), -weights[label], label))
    return {label: shares[label] for label in sorted(best[:k])}
