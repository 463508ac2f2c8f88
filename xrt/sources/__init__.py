"""Sources of scores: each gives labels of a row a score in [0, 1]."""
