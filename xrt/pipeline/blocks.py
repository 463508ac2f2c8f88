"""What the deep model's rankers see of a text besides TF-IDF: embeddings, and how long each is.

N training rows, R some of them, L labels, F TF-IDF columns, H hidden width of the fine-tuned
encoder, G of the frozen one where there is one, M = H + G. A row is [TF-IDF ; weight * tuned ;
frozen_weight * frozen], each part of length 1 before it is weighted. The frozen encoder is the one
that fine-tuning began with: it still knows what the labels did not ask for.
"""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from xrt.data.corpus import Corpus
from xrt.data.splits import Split
from xrt.fusion.weights import quality
from xrt.hybrid import HybridMatrix
from xrt.pipeline.fit import Matched, StageRunner, encoder_identity, uses_bf16, weights_of
from xrt.pipeline.trees import TreeGrower, paths_above
from xrt.search.beam import SearchParams
from xrt.sources.base import SourceRows
from xrt.sources.blocks import EmbeddingBlocks
from xrt.sources.ranker import RankerParams, train_ranker
from xrt.sources.trees import TreeEnsemble
from xrt.sparse import as_csr
from xrt.storage.atomic import save_array, write_json
from xrt.storage.hashing import content_hash
from xrt.storage.reading import load_array, read_json_bounded

logger = logging.getLogger(__name__)

WEIGHTS = (1.0, 0.7, 0.5, 1.4)
"""Lengths of the fine-tuned embedding that are tried, the likeliest first: among equals it wins."""
MAX_TRIAL_ROWS = 50_000
"""Rows, drawn at random, that rankers are trained on to compare lengths."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """Embeddings of the training rows, and the length of each block in the rankers' rows."""

    tuned_folder: Path
    tuned_NH: np.ndarray
    key: str
    """What hashes the embeddings and their encoders."""
    weight: float = 1.0
    frozen_folder: Path | None = None
    frozen_NG: np.ndarray | None = None
    frozen_weight: float = 0.0

    @property
    def settings(self) -> dict[str, str]:
        """What rankers on these blocks depend on, as a stage's inputs."""
        frozen = {} if self.frozen_NG is None else {"frozen weight": str(self.frozen_weight)}
        return {"blocks": self.key, "weight": str(self.weight), **frozen}

    def embeddings(self, rows: np.ndarray) -> np.ndarray:
        """Embeddings of the given rows as `ModelEncoder.embed` gives them: (R, M)."""
        tuned_RH = np.asarray(self.tuned_NH[rows])
        if self.frozen_NG is None:
            return tuned_RH
        return np.hstack([tuned_RH, self.frozen_NG[rows]])

    @property
    def widths(self) -> EmbeddingBlocks:
        """Widths and weights of the embeddings in a hybrid row."""
        frozen_width = 0 if self.frozen_NG is None else self.frozen_NG.shape[1]
        return EmbeddingBlocks(
            self.tuned_NH.shape[1], self.weight, frozen_width, self.frozen_weight
        )

    def join(self, X_RF: sp.csr_array, embeddings_RM: np.ndarray) -> HybridMatrix:
        """The rankers' rows of TF-IDF rows and embeddings as `embeddings` gives them."""
        return self.widths.join(X_RF, embeddings_RM)

    def rows(
        self, X_RF: sp.csr_array, rows: np.ndarray, weights_R: np.ndarray | None = None
    ) -> SourceRows:
        """Some of the training rows as sources take them, with weights; `X_RF` is their TF-IDF."""
        X = HybridMatrix.of(X_RF).weighted(weights_R)
        return SourceRows(X, self.widths, lambda: self.embeddings(rows))


def make_blocks(
    runner: StageRunner,
    corpus: Corpus,
    X_NF: sp.csr_array,
    matched: Matched,
    split: Split,
    search: SearchParams,
    inputs: dict[str, str],
) -> Blocks:
    """The blocks that the settings ask for; where they leave the length open it is chosen on the
    held-out rows.
    """
    params = runner.params
    tuned = Blocks(matched.encoder_folder, matched.embeddings_NH, matched.key)
    candidates = [tuned]
    if params.frozen_weight > 0:
        frozen = _with_frozen(runner, corpus, tuned)
        candidates = [frozen] if params.embedding_weight is not None else [tuned, frozen]
    if params.embedding_weight is not None:
        return _at(candidates[0], params.embedding_weight)
    return _choose(runner, corpus, X_NF, candidates, split, search, inputs)


def _at(blocks: Blocks, weight: float) -> Blocks:
    return Blocks(**{**vars(blocks), "weight": weight})


def _with_frozen(runner: StageRunner, corpus: Corpus, tuned: Blocks) -> Blocks:
    """The stage of the frozen embeddings: the encoder as it is before training reads all texts."""
    params, texts = runner.params, corpus.texts
    assert params.encoder is not None
    assert texts is not None
    encoder_params = params.encoder

    def produce(folder: Path) -> None:
        from xrt.encoder.backbone import TextEncoder
        from xrt.encoder.resolve import resolve_encoder

        home = resolve_encoder(
            encoder_params.name, work_folder=folder, texts=texts, seed=params.seed
        )
        TextEncoder.from_pretrained(home, encoder_params).save(folder / "encoder")
        save_array(folder / "embeddings.npy", embed_texts(runner, folder / "encoder", texts))

    encoder, files = encoder_identity(encoder_params)
    settings = {name: encoder[name] for name in ("name", "pooling", "max_length")}
    settings["precision"] = params.trainer.precision
    inputs = {"texts": content_hash(texts), **files}
    stage = runner.run("frozen", 1, settings, inputs, produce)
    return Blocks(
        **{
            **vars(tuned),
            "key": content_hash([tuned.key, stage.output_hash]),
            "frozen_folder": stage.folder / "encoder",
            "frozen_NG": load_array(stage.folder / "embeddings.npy", np.float32, 2),
            "frozen_weight": params.frozen_weight,
        }
    )


def embed_texts(runner: StageRunner, encoder_folder: Path, texts: list[str]) -> np.ndarray:
    """Embeddings of texts by a saved encoder, not of length 1: float32 (N, H)."""
    from xrt.encoder.backbone import TextEncoder
    from xrt.encoder.embed import best_device, encode
    from xrt.encoder.tokens import TokenStore

    encoder = TextEncoder.load(encoder_folder)
    return encode(
        encoder,
        TokenStore.of_texts(texts, encoder.tokenizer, encoder.max_length),
        bf16=uses_bf16(runner),
        device=best_device(runner.params.trainer.accelerator),
        progress=runner.progress,
    )


def _choose(
    runner: StageRunner,
    corpus: Corpus,
    X_NF: sp.csr_array,
    candidates: list[Blocks],
    split: Split,
    search: SearchParams,
    inputs: dict[str, str],
) -> Blocks:
    """The stage that tries lengths: the best mean of P@1 and nDCG@10 of one ranker alone."""
    params = runner.params
    tried = [_at(blocks, weight) for blocks in candidates for weight in WEIGHTS]
    rng = np.random.default_rng(params.seed)
    size = min(MAX_TRIAL_ROWS, len(split.train))
    sample = np.sort(rng.choice(split.train, size, replace=False))
    cheap = RankerParams(**{**vars(params.ranker), "matcher_negatives": 0})

    def produce(folder: Path) -> None:
        Y_fit, Y_true = as_csr(corpus.Y[sample]), as_csr(corpus.Y[split.validation])
        figures = []
        for blocks in tried:
            X_fit, X_held = (
                blocks.join(as_csr(X_NF[rows]), blocks.embeddings(rows)).weighted(
                    weights_of(corpus, rows)
                )
                for rows in (sample, split.validation)
            )
            grower = TreeGrower(X_fit, Y_fit, runner.num_threads)
            tree = grower.grow(params.tree, params.seed, paths_above(params.tree, corpus.labels))
            ranker = train_ranker(X_fit, Y_fit, tree, cheap, params.seed, runner.num_threads)
            found = TreeEnsemble((ranker,)).search(X_held, 10, search, runner.num_threads)
            figures.append({
                "weight": blocks.weight, "frozen_weight": blocks.frozen_weight,
                **quality(Y_true, found, X_held.weights_N),
            })  # fmt: skip
        best = max(range(len(tried)), key=lambda i: figures[i]["P@1"] + figures[i]["nDCG@10"])
        write_json(folder / "weights.json", {"chosen": best, "tried": figures})

    settings = {
        "ranker": asdict(cheap), "tree": asdict(params.tree), "search": asdict(search),
        "seed": params.seed, "frozen_weight": params.frozen_weight, "tried": WEIGHTS,
    }  # fmt: skip
    keys = {f"blocks {i}": blocks.key for i, blocks in enumerate(candidates)}
    stage = runner.run("block-weights", 1, settings, {**inputs, **keys}, produce)
    chosen = read_json_bounded(stage.folder / "weights.json")
    logger.info("lengths of the embedding on %d held-out rows: %s", len(split.validation), chosen)
    return tried[int(chosen["chosen"])]
