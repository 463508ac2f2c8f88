"""Held-out rows that the matcher is validated on: a sample, and what the matcher makes of it.

Shapes: N held-out rows, n sampled ones, L labels, K nodes of a level, B rows of a batch.
"""

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import scipy.sparse as sp
import torch
from torch.distributed.fsdp import FSDPModule

from xrt.encoder.backbone import TextEncoder
from xrt.encoder.batches import cut_sorted
from xrt.encoder.loss import row_losses_dense
from xrt.encoder.matcher import LevelMatcher
from xrt.encoder.params import EncoderParams
from xrt.encoder.token_store import TokenStore
from xrt.errors import DataError
from xrt.metrics.ranking import judge, ndcg_of_rows, precision_at
from xrt.tree.label_tree import LabelTree

logger = logging.getLogger(__name__)

SAMPLE = 512
"""Held-out rows that a validation looks at."""
DEPTH = 5
TOKENS = 4096
LOGITS = 2**23  # 32 MiB at a time


@dataclass(frozen=True, eq=False)
class ValidationRows:
    """A sample of held-out rows: their tokens and their targets (n, K)."""

    tokens: TokenStore
    Y_nK: sp.csr_array

    def at_level(self, tree: LabelTree, t: int) -> "ValidationRows":
        """The same rows with the targets of a level; these have those of the labels."""
        return ValidationRows(self.tokens, tree.level_confidences(self.Y_nK)[t])


def sample_of(Y_NL: sp.csr_array, seed: int) -> np.ndarray:
    """Row numbers of `SAMPLE` rows with a label, ascending; all where there are fewer.

    The sample depends on the seed alone, so a resumed run looks at the same rows.
    """
    labelled_N = np.flatnonzero(np.diff(Y_NL.indptr))
    size = min(SAMPLE, len(labelled_N))
    rng = np.random.default_rng([seed, 5])
    return np.sort(rng.choice(labelled_N, size, replace=False))


def sample_held_out(
    texts: Sequence[str] | TokenStore,
    Y_NL: sp.csr_array,
    backbone: Path,
    encoder: EncoderParams,
    seed: int,
) -> ValidationRows | None:
    """The sample that validations look at, with its labels (n, L); None where there is nothing to
    see.

    Raises DataError when texts and labels differ in number.
    """
    num_rows = texts.num_rows if isinstance(texts, TokenStore) else len(texts)
    if num_rows != Y_NL.shape[0]:
        raise DataError(f"validation: {num_rows} texts, but {Y_NL.shape[0]} rows of labels")
    rows_n = sample_of(Y_NL, seed)
    if not len(rows_n):
        logger.warning("no validation: none of the %d held-out rows has a label of the tree",
                       num_rows)  # fmt: skip
        return None
    if isinstance(texts, TokenStore):
        return ValidationRows(texts.subset(rows_n), Y_NL[rows_n])
    tokenizer = TextEncoder.from_pretrained(backbone, encoder).tokenizer
    sampled = [texts[row] for row in rows_n]
    tokens = TokenStore.of_texts(sampled, tokenizer, encoder.max_length)
    return ValidationRows(tokens, Y_NL[rows_n])


def score(
    matcher: LevelMatcher, trainer: pl.Trainer, rows: ValidationRows
) -> tuple[np.ndarray, float, float]:
    """nDCG@5 of each sampled row over all nodes of the finest level, their P@1 and mean loss.

    Nothing random is drawn. The loss counts all nodes, also where training looks at candidates
    only.
    """
    num_rows, num_nodes = rows.Y_nK.shape
    order = np.argsort(rows.tokens.lengths, kind="stable")
    cuts = cut_sorted(rows.tokens.lengths[order], TOKENS, max(1, LOGITS // num_nodes))
    best_n5 = np.zeros((num_rows, min(DEPTH, num_nodes)), np.int64)
    loss = 0.0
    matcher.eval()
    try:
        with torch.no_grad(), trainer.precision_plugin.val_step_context():
            for first, last in itertools.pairwise(cuts):
                batch = order[first:last]
                ids_BT, mask_BT = (t.to(matcher.device) for t in rows.tokens.padded(batch))
                logits_BK = matcher.scores(ids_BT, mask_BT).float()
                best_n5[batch] = logits_BK.topk(best_n5.shape[1], dim=1).indices.cpu().numpy()
                targets_BK = torch.from_numpy(rows.Y_nK[batch].toarray()).to(logits_BK)
                losses_B = row_losses_dense(logits_BK, targets_BK)
                loss += float(losses_B.sum())
    finally:
        matcher.train()
        if isinstance(matcher, FSDPModule):
            matcher.reshard()
    judged = judge(rows.Y_nK, _ranked(best_n5, num_nodes), DEPTH)
    ndcg_n = ndcg_of_rows(judged)[:, -1].astype(np.float32)
    return ndcg_n, float(precision_at(judged)[0]), loss / num_rows


def _ranked(best_nk: np.ndarray, num_nodes: int) -> sp.csr_array:
    """Scores that put the given nodes in their order: (n, K)."""
    num_rows, depth = best_nk.shape
    scores = np.tile(np.arange(depth, 0, -1, dtype=np.float32), num_rows)
    indptr = np.arange(num_rows + 1) * depth
    return sp.csr_array((scores, best_nk.ravel(), indptr), shape=(num_rows, num_nodes))
