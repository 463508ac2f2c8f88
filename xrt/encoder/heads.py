"""The head of a level: one weight vector and bias a node, over all nodes or over ragged candidates.

Shapes: B rows, H hidden width, K nodes of the level, E candidate entries of the whole batch.
"""

import numpy as np
import torch
from torch import Tensor, nn


class LabelHead(nn.Module):
    """weight (K, H) and bias (K,): the logit of a node is weight · pooled + bias."""

    def __init__(self, num_nodes: int, hidden_size: int, row_wise: bool = False) -> None:
        """`row_wise` heads get sparse gradients from `at`: of the nodes that a step looked at."""
        super().__init__()
        self.row_wise = row_wise
        self.weight = nn.Parameter(torch.zeros(num_nodes, hidden_size))
        self.bias = nn.Parameter(torch.zeros(num_nodes))

    @property
    def num_nodes(self) -> int:
        """Nodes of the level, K."""
        return len(self.bias)

    def forward(self, pooled_BH: Tensor) -> Tensor:
        """Logits of all nodes: (B, K)."""
        return nn.functional.linear(pooled_BH, self.weight, self.bias)

    def at(self, pooled_BH: Tensor, rows_E: Tensor, nodes_E: Tensor) -> Tensor:
        """Logits of candidate entries only: (E,); entry e is node `nodes_E[e]` for row `rows_E[e]`.

        One product over the union of the batch's candidates, then a gather; neither a (B, C, H)
        tensor nor a padded slot exists. Rows of a batch share most of their candidates.
        """
        union_U, position_E = torch.unique(nodes_E, return_inverse=True)
        weight_UH = nn.functional.embedding(union_U, self.weight, sparse=self.row_wise)
        bias_U = torch.gather(self.bias, 0, union_U, sparse_grad=self.row_wise)
        logits_BU = nn.functional.linear(pooled_BH, weight_UH, bias_U)
        return logits_BU[rows_E, position_E]

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Weight (K, H) and bias (K,) as float32 arrays of their own."""
        return (
            self.weight.detach().cpu().float().numpy().copy(),
            self.bias.detach().cpu().float().numpy().copy(),
        )

    @classmethod
    def of_arrays(
        cls, weight_KH: np.ndarray, bias_K: np.ndarray, row_wise: bool = False
    ) -> "LabelHead":
        """A head that starts from the given weights."""
        head = cls(weight_KH.shape[0], weight_KH.shape[1], row_wise)
        with torch.no_grad():
            head.weight.copy_(torch.from_numpy(np.array(weight_KH, np.float32)))
            head.bias.copy_(torch.from_numpy(np.array(bias_K, np.float32)))
        return head


def prior_log_odds(counts_K: np.ndarray, num_rows: int) -> np.ndarray:
    """Log-odds of each node among the rows, smoothed by half a row: where a BCE head's bias
    begins.
    """
    counts = np.asarray(counts_K, np.float64)
    return np.log((counts + 0.5) / (num_rows - counts + 0.5)).astype(np.float32)


def random_weights(num_nodes: int, hidden_size: int, seed: int) -> np.ndarray:
    """Small normal weights, (K, H); their logits have a deviation of about 0.02 |pooled|."""
    rng = np.random.default_rng(seed)
    return np.float32(0.02) * rng.standard_normal((num_nodes, hidden_size), dtype=np.float32)
