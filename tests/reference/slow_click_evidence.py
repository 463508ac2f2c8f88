"""Click evidence in plain loops over rows, a pair at a time."""

import math
from collections import defaultdict


def slow_click_evidence(rows, items, prior, *, strength, z):
    """Evidence of each clicked (query, label).

    rows: (query, item, look, clicks, impressions), `look` the chance of a look at the position.
    items: item -> labels. prior: label -> share. Returns (query, label) -> dict of features.
    """
    of_query = defaultdict(list)
    for query, item, look, clicks, impressions in rows:
        of_query[query].append((items[item], item, look, clicks, impressions))
    found = {}
    for query, some in of_query.items():
        labels = {label for values, _, _, clicks, _ in some if clicks for label in values}
        evidence = {label: slow_pair(label, some, prior[label], strength, z) for label in labels}
        for label in labels:
            others = [
                evidence[o]["share"] for o in labels if o != label and facet(o) == facet(label)
            ]
            best = max(others, default=0.0)
            evidence[label]["share_over_next"] = evidence[label]["share"] - best
            found[query, label] = evidence[label]
    return found


def attribute(label):
    return label.partition("=")[0]


def facet(label):
    return attribute(label), label.count(" > ")


def slow_pair(label, rows, prior, strength, z):
    """Evidence of one pair; rows of its query: (values, item, look, clicks, impressions)."""
    total = sum(clicks for *_, clicks, _ in rows)
    total_mass = sum(clicks / look for *_, look, clicks, _ in rows)
    total_looks = sum(look * impressions for *_, look, _, impressions in rows)
    scale = total / total_mass if total_mass else 0.0
    known = [row for row in rows if attribute(label) in map(attribute, row[0])]
    having = [row for row in rows if label in row[0]]
    mass, known_mass = (
        scale * sum(clicks / look for *_, look, clicks, _ in some) for some in (having, known)
    )
    clicks, n = (sum(row[3] for row in some) for some in (having, known))
    looks, known_looks = (sum(row[2] * row[4] for row in some) for some in (having, known))
    share = (mass + strength * prior) / (known_mass + strength)
    lower = 0.0
    if n:
        p = clicks / n
        spread = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        lower = max(0.0, (p + z * z / (2 * n) - spread) / (1 + z * z / n))
    rate = (total + 0.5) / (total_looks + 0.5)
    with_value = (clicks + 1) / (looks + 1 / rate)
    without = (n - clicks + 1) / (known_looks - looks + 1 / rate)
    return {
        "log_clicks": math.log1p(total),
        "share": share,
        "log_lift": math.log(share / prior),
        "share_lower": lower,
        "log_lift_lower": math.log(max(lower, 1e-4) / prior),
        "log_items": math.log1p(len({item for _, item, _, count, _ in having if count})),
        "known_share": known_mass / total if total else 0.0,
        "log_rate_ratio": math.log(with_value / without) if total_looks else math.nan,
        "shown_share": looks / known_looks if known_looks else math.nan,
    }
