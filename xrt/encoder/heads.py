"""The head of a level: one weight vector and bias a node, over all nodes or over ragged candidates;
and where it starts.

Shapes: B rows, N training rows, n of a sample, H hidden width, K nodes of the level, E candidate
entries of the whole batch. Heads read pooled vectors brought to length 1.
"""

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

Head = tuple[np.ndarray, np.ndarray]
"""Weight (K, H) and bias (K,), float32: a node's logit is weight · (pooled / |pooled|) + bias."""
CENTROID_LOGIT = 15.0
"""How much a row's logit rises when it moves from the mean of all rows to a node's centroid, by as
much as rows lie from that mean. Chosen on held-out rows of tibkat."""
ROWS_PER_LABEL = 2
"""Rows of each label whose embeddings a head's start looks at."""


class LevelHead(nn.Module):
    """weight (K, H) and bias (K,): the logit of a node is weight · pooled + bias."""

    def __init__(self, num_nodes: int, hidden_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_nodes, hidden_size))
        self.bias = nn.Parameter(torch.zeros(num_nodes))

    @property
    def num_nodes(self) -> int:
        """Nodes of the level, K."""
        return len(self.bias)

    def forward(self, pooled_BH: Tensor) -> Tensor:
        """Logits of all nodes: (B, K).

        Args:
            pooled_BH: pooled vectors, (B, H).

        Returns:
            The logits.
        """
        return nn.functional.linear(pooled_BH, self.weight, self.bias)

    def at(self, pooled_BH: Tensor, rows_E: Tensor, nodes_E: Tensor) -> Tensor:
        """Logits of candidate entries only: (E,); entry e is node `nodes_E[e]` for row `rows_E[e]`.

        One product over the union of the batch's candidates, then a gather; neither a (B, C, H)
        tensor nor a padded slot exists. Rows of a batch share most of their candidates.

        Args:
            pooled_BH: pooled vectors, (B, H).
            rows_E: row of each entry.
            nodes_E: node of each entry.

        Returns:
            The logits.
        """
        union_U, position_E = torch.unique(nodes_E, return_inverse=True)
        weight_UH = nn.functional.embedding(union_U, self.weight)
        bias_U = torch.gather(self.bias, 0, union_U)
        logits_BU = nn.functional.linear(pooled_BH, weight_UH, bias_U)
        return logits_BU[rows_E, position_E]

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Weight (K, H) and bias (K,) as float32 arrays of their own.

        Returns:
            Weight and bias.
        """
        return (
            self.weight.detach().cpu().float().numpy().copy(),
            self.bias.detach().cpu().float().numpy().copy(),
        )

    @classmethod
    def of_arrays(cls, weight_KH: np.ndarray, bias_K: np.ndarray) -> "LevelHead":
        """A head that starts from the given weights.

        Args:
            weight_KH: weights, (K, H); copied.
            bias_K: biases, (K,); copied.

        Returns:
            The head.
        """
        head = cls(weight_KH.shape[0], weight_KH.shape[1])
        with torch.no_grad():
            head.weight.copy_(torch.from_numpy(np.array(weight_KH, np.float32)))
            head.bias.copy_(torch.from_numpy(np.array(bias_K, np.float32)))
        return head


def prior_log_odds(counts_K: np.ndarray, num_rows: int) -> np.ndarray:
    """Log-odds of each node among the rows, smoothed by half a row: where a BCE head's bias
    begins.

    Args:
        counts_K: rows of each node, (K,).
        num_rows: rows in all, N.

    Returns:
        Log-odds, float32 (K,).
    """
    counts = np.asarray(counts_K, np.float64)
    return np.log((counts + 0.5) / (num_rows - counts + 0.5)).astype(np.float32)


def centroid_head(
    unit_nH: np.ndarray,
    Y_nK: sp.csr_array,
    prior_K: np.ndarray,
    weights_n: np.ndarray | None = None,
) -> Head:
    """Weights with which a head begins: a node's point from the mean of all rows to the mean of its
    own, in which a row counts by its weight and its confidence, at most 1.

    The logit at the mean of all rows is the node's log-odds. Nodes without a row in the sample have
    weight 0.

    Args:
        unit_nH: embeddings of a sample of rows, of length 1, (n, H).
        Y_nK: confidences of the rows, csr_array (n, K).
        prior_K: log-odds of each node, (K,).
        weights_n: weights of the rows, (n,); None: all 1.

    Returns:
        Weights (K, H) and biases (K,), float32.
    """
    mean_H = unit_nH.mean(0)
    centred_nH = unit_nH - mean_H
    spread = float(np.linalg.norm(centred_nH, axis=1).mean())
    counted_Kn = sp.csr_array(Y_nK.T)
    counted_Kn.data = np.minimum(counted_Kn.data, np.float32(1))
    if weights_n is not None:
        counted_Kn.data *= weights_n[counted_Kn.indices]
    weight_KH = np.asarray(counted_Kn @ centred_nH, np.float32)
    lengths_K1 = np.linalg.norm(weight_KH, axis=1, keepdims=True)
    weight_KH *= CENTROID_LOGIT / max(spread, 1e-6) / np.maximum(lengths_K1, 1e-12)
    return weight_KH, (prior_K - weight_KH @ mean_H).astype(np.float32)


def sample_rows(Y_NL: sp.csr_array, rows_per_label: int, seed: int) -> np.ndarray:
    """Rows, ascending, among which every label has `rows_per_label` of its rows, or all it has.

    Args:
        Y_NL: labels of the rows, csr_array (N, L).
        rows_per_label: rows of a label.
        seed: seed of the choice.

    Returns:
        Row numbers.
    """
    order_N = np.random.default_rng(seed).permutation(Y_NL.shape[0])
    shuffled_LN = sp.csc_array(Y_NL[order_N])
    shuffled_LN.sort_indices()
    starts, counts = shuffled_LN.indptr[:-1], np.diff(shuffled_LN.indptr)
    taken = [
        shuffled_LN.indices[(starts + i)[counts > i]] for i in range(min(rows_per_label, Y_NL.nnz))
    ]
    return np.unique(order_N[np.concatenate([np.empty(0, np.int64), *taken])])
