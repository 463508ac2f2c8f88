"""The mean of several trees' scores, with dictionaries."""


def slow_mean(parts: list[list[dict[int, float]]], k: int) -> list[dict[int, float]]:
    """The `k` best labels of each row by mean score; what a tree did not find counts 0 there."""
    means = []
    for rows in zip(*parts, strict=True):
        result = {label for row in rows for label in row}
        mean = {label: sum(row.get(label, 0.0) for row in rows) / len(rows) for label in result}
        best = sorted(mean, key=lambda label: (-mean[label], label))[:k]
        means.append({label: mean[label] for label in best})
    return means
