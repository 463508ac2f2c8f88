"""The features of candidates, one after the other."""

import math

from xrt.fusion.candidates import Candidates


def slow_features(
    candidates: Candidates, mean: list[float], counts: list[int]
) -> list[list[float]]:
    """Scores, ranks, gaps and bests of the sources, then mean, agreement and log count."""
    pairs, scores = candidates.pairs_NL, candidates.scores_SP.tolist()
    features = []
    for row in range(candidates.num_rows):
        here = range(pairs.indptr[row], pairs.indptr[row + 1])
        own = [p for p in here if pairs.data[p] > 0]
        for p in here:
            ranks, gaps, bests = [], [], []
            for of_source in scores:
                best = max((of_source[q] for q in own), default=0.0)
                ranks.append(min(50, sum(of_source[q] > of_source[p] for q in own)))
                gaps.append(math.log(max(of_source[p], 1e-6)) - math.log(max(best, 1e-6)))
                bests.append(best)
            rest = [mean[p], sum(rank < 10 for rank in ranks)]
            count = math.log(1 + counts[pairs.indices[p]])
            features.append([*(s[p] for s in scores), *ranks, *gaps, *bests, *rest, count])
    return features
