"""What a level of the tree is trained on: targets and candidates of rows.

Shapes: N rows, K_t nodes of level t, H hidden width, B rows of a batch, E entries of a batch.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from xrt.tree.candidates import union_candidates
from xrt.tree.label_tree import LabelTree


class LevelTargets(NamedTuple):
    """Targets and candidates of some rows, entry by entry: node `nodes_E[e]` for row `rows_E[e]`.

    When `dense`, every node is a candidate and the entries are the positives alone. When `all_ones`
    no value is other than 0 or 1.
    """

    rows_E: Tensor
    nodes_E: Tensor
    values_E: Tensor
    dense: bool
    all_ones: bool = False

    def to(self, device: torch.device) -> "LevelTargets":
        """The same on another device.

        Args:
            device: the device.

        Returns:
            Targets there.
        """
        rows_E, nodes_E, values_E = (part.to(device) for part in self[:3])
        return LevelTargets(rows_E, nodes_E, values_E, self.dense, self.all_ones)


class LevelData:
    """Targets Y_t (N, K_t) of a level, and its candidates as nodes above, M (N, K_{t-1}).

    Without candidates every node of the level is one. A level with candidates adds to them, at each
    step, the children of the nodes that the head above ranks highest then.
    """

    def __init__(
        self,
        Y_level: sp.csr_array,
        M_above: sp.csr_array | None,
        tree: LabelTree,
        t: int,
    ) -> None:
        self.Y_level = Y_level
        self.M_above = M_above
        children = None if M_above is None else sp.csr_array(tree.cluster_matrix(t).T)
        self._children = children
        self._all_ones = bool((Y_level.data == 1).all())

    @property
    def num_nodes(self) -> int:
        """Nodes of the level, K_t."""
        return int(self.Y_level.shape[1])

    def of_rows(self, rows: np.ndarray, best_above: sp.csr_array | None = None) -> LevelTargets:
        """Candidates are expanded to children batch by batch; positives are candidates always.

        `best_above` (B, K_{t-1}) are further candidates of these rows.

        Args:
            rows: row numbers of a batch, (B,).
            best_above: ones at further candidates among the nodes above, csr_array; None: none.

        Returns:
            Targets and candidates of the rows.
        """
        Y_BK = self.Y_level[rows]
        if self.M_above is None:
            return _entries(Y_BK, dense=True, all_ones=self._all_ones)
        M_BK = self.M_above[rows]
        if best_above is not None:
            M_BK = union_candidates(M_BK, best_above)
        pattern_BK = sp.csr_array(M_BK @ self._children)
        pattern_BK.data[:] = 0.0
        pattern_BK.sort_indices()
        return _entries(_overlay(pattern_BK, Y_BK), dense=False, all_ones=self._all_ones)


def best_nodes(
    logits: Tensor, targets: LevelTargets, num_rows: int, num_nodes: int, top_k: int
) -> sp.csr_array:
    """The `top_k` candidates of each row with the highest logits: pattern (B, K).

    `logits` are (B, K) where the targets are dense, else (E,), one an entry.

    Args:
        logits: logits of the candidates.
        targets: the candidates.
        num_rows: rows of the batch, B.
        num_nodes: nodes of the level, K.
        top_k: most nodes of a row.

    Returns:
        Ones, csr_array.
    """
    if targets.dense:
        best_BK = logits.topk(min(top_k, num_nodes), dim=1).indices.cpu().numpy()
        return pattern_of(best_BK, num_nodes)
    rows_E, nodes_E = targets.rows_E.cpu().numpy(), targets.nodes_E.cpu().numpy()
    order = np.lexsort((-logits.float().cpu().numpy(), rows_E))
    rank = np.arange(len(order)) - np.searchsorted(rows_E[order], rows_E[order])
    best = order[rank < top_k]
    ones = np.ones(len(best), np.float32)
    return sp.csr_array((ones, (rows_E[best], nodes_E[best])), shape=(num_rows, num_nodes))


def pattern_of(nodes_NK: np.ndarray, num_nodes: int) -> sp.csr_array:
    """Ones at the given nodes of each row: (N, K).

    Args:
        nodes_NK: different nodes of each row, as many for each.
        num_nodes: nodes of the level, K.

    Returns:
        Ones, csr_array.
    """
    num_rows, top_k = nodes_NK.shape
    indptr = np.arange(num_rows + 1) * top_k
    ones = np.ones(nodes_NK.size, np.float32)
    pattern = sp.csr_array((ones, nodes_NK.ravel(), indptr), shape=(num_rows, num_nodes))
    pattern.sort_indices()
    return pattern


def _overlay(pattern_BK: sp.csr_array, Y_BK: sp.csr_array) -> sp.csr_array:
    """Targets on every entry of the pattern and on every positive; stored zeros are wrong nodes."""
    num_rows, num_nodes = Y_BK.shape
    keys, values = [], []
    for part in (pattern_BK, Y_BK):
        rows = np.repeat(np.arange(num_rows, dtype=np.int64), np.diff(part.indptr))
        keys.append(rows * num_nodes + part.indices)
        values.append(part.data)
    unique, position = np.unique(np.concatenate(keys), return_inverse=True)
    data = np.zeros(len(unique), np.float32)
    np.add.at(data, position, np.concatenate(values))
    indptr = np.searchsorted(unique, np.arange(num_rows + 1, dtype=np.int64) * num_nodes)
    return sp.csr_array((data, unique % num_nodes, indptr), shape=Y_BK.shape)


def _entries(targets_BK: sp.csr_array, dense: bool, all_ones: bool) -> LevelTargets:
    rows = np.repeat(np.arange(targets_BK.shape[0], dtype=np.int64), np.diff(targets_BK.indptr))
    nodes = torch.from_numpy(targets_BK.indices.astype(np.int64))
    values = torch.from_numpy(targets_BK.data.astype(np.float32))
    return LevelTargets(torch.from_numpy(rows), nodes, values, dense, all_ones)
