"""Click evidence in plain loops over rows, a pair at a time."""

import math
from collections import defaultdict


def slow_click_evidence(rows, items, prior, *, strength, z):
    """Evidence of each clicked (query, label).

    rows: (query, item, look, clicks, impressions), `look` the chance of a look at the position.
    items: item -> labels. prior: label -> share. Returns (query, label) -> dict of features.
    """
    attribute = lambda label: label.partition("=")[0]  # noqa: E731
    of_query = defaultdict(list)
    for query, item, look, clicks, impressions in rows:
        of_query[query].append((item, look, clicks, impressions))
    found = {}
    for query, some in of_query.items():
        total = sum(clicks for _, _, clicks, _ in some)
        total_mass = sum(clicks / look for _, look, clicks, _ in some)
        total_looks = sum(look * impressions for _, look, _, impressions in some)
        scale = total / total_mass if total_mass else 0.0
        labels = {v for item, _, clicks, _ in some if clicks for v in items[item]}
        shares = {}
        for label in labels:
            has = lambda item: label in items[item]  # noqa: B023, E731
            known = lambda item: attribute(label) in map(attribute, items[item])  # noqa: B023, E731
            mass = scale * sum(c / look for i, look, c, _ in some if has(i))
            known_mass = scale * sum(c / look for i, look, c, _ in some if known(i))
            clicks = sum(c for i, _, c, _ in some if has(i))
            known_clicks = sum(c for i, _, c, _ in some if known(i))
            looks = sum(look * n for i, look, _, n in some if has(i))
            known_looks = sum(look * n for i, look, _, n in some if known(i))
            share = (mass + strength * prior[label]) / (known_mass + strength)
            shares[label] = share
            p = clicks / known_clicks if known_clicks else 0.0
            n = known_clicks
            lower = 0.0
            if n:
                spread = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
                lower = max(0.0, (p + z * z / (2 * n) - spread) / (1 + z * z / n))
            rate = (total + 0.5) / (total_looks + 0.5)
            with_value = (clicks + 1) / (looks + 1 / rate)
            without = (known_clicks - clicks + 1) / (known_looks - looks + 1 / rate)
            found[query, label] = {
                "log_clicks": math.log1p(total),
                "share": share,
                "log_lift": math.log(share / prior[label]),
                "share_lower": lower,
                "log_lift_lower": math.log(max(lower, 1e-4) / prior[label]),
                "log_items": math.log1p(len({i for i, _, c, _ in some if c and has(i)})),
                "known_share": known_mass / total if total else 0.0,
                "log_rate_ratio": math.log(with_value / without) if total_looks else math.nan,
                "shown_share": looks / known_looks if known_looks else math.nan,
            }
        for label in labels:
            same = lambda other: (  # noqa: E731
                attribute(other) == attribute(label) and other.count(" > ") == label.count(" > ")  # noqa: B023
            )
            others = [shares[other] for other in labels if other != label and same(other)]
            found[query, label]["share_over_next"] = shares[label] - max(others, default=0.0)
    return found
