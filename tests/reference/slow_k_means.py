"""Spherical k-means with dense numpy, one point after the other: slow and plain."""

import numpy as np

from xrt.tree.k_means import draw_distinct


def slow_k_means(
    Z_nD: np.ndarray, k: int, rounds: int, tolerance: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The cluster of each point (n,), and the centroids (k, D) that gave the clusters."""
    n = len(Z_nD)
    centroids_kD = Z_nD[draw_distinct(n, k, np.uint64(seed))].astype(np.float64)
    cluster = np.full(n, -1)
    for done in range(rounds):
        if done > 0:
            for c in range(k):
                centroids_kD[c] = Z_nD[cluster == c].sum(0)
        lengths_k = np.linalg.norm(centroids_kD, axis=1, keepdims=True)
        centroids_kD = centroids_kD / np.where(lengths_k > 0, lengths_k, 1)
        nearest = (Z_nD @ centroids_kD.T).argmax(1)
        num_moved = int((nearest != cluster).sum())
        cluster = nearest
        if num_moved <= tolerance * n:
            break
    return cluster, centroids_kD
