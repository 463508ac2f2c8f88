"""The stages of training in order, from rows to the parts of a model.

N training rows, some of them held out to choose fusion weights; L labels, F TF-IDF columns, H
hidden width. Each stage's outputs are files in the run folder; a stage whose version, settings and
inputs are as they were is not run again.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.data.corpus import Corpus
from xrt.data.labels import LabelTable
from xrt.encoder.params import EncoderParams
from xrt.features.tfidf import TfidfFeatures
from xrt.features.tfidf_params import TfidfParams
from xrt.hybrid import HybridMatrix, as_row_weights
from xrt.pipeline.params import PipelineParams
from xrt.pipeline.trees import TreeGrower, given_tree, paths_above, tree_seeds
from xrt.progress import Progress
from xrt.sources.base import CANDIDATES
from xrt.sources.ranker import TreeRanker, train_ranker
from xrt.sources.trees import TreeEnsemble
from xrt.sparse import as_csr, load_csr, normalize_rows, save_csr
from xrt.storage.atomic import save_array, write_json
from xrt.storage.hashing import content_hash
from xrt.storage.stages import StageResult, run_stage
from xrt.tree.clustering import TreeParams
from xrt.tree.label_tree import LabelTree


@dataclass(frozen=True, eq=False)
class StageRunner:
    """What every stage needs: where it writes, with which settings, who watches."""

    folder: Path
    params: PipelineParams
    progress: Progress | None
    candidates: int = CANDIDATES
    """Labels that each source names for a row."""

    @property
    def num_threads(self) -> int | None:
        """Threads of the linear stages; None takes all."""
        return self.params.num_threads or None

    def run(
        self,
        name: str,
        version: int,
        parameters: object,
        inputs: dict[str, str],
        produce: Callable[..., None],
        keeps_scratch: bool = False,
    ) -> StageResult:
        """Have the stage's outputs; tells when they were there already."""
        return run_stage(
            self.folder, name, version, parameters, inputs, produce, keeps_scratch=keeps_scratch
        )


@dataclass(frozen=True, eq=False)
class Rows:
    """Feature rows of the training corpus: X (N, F), its vectoriser, and what they hash to."""

    X_NF: sp.csr_array
    features: TfidfFeatures | None
    key: str


def make_rows(
    runner: StageRunner, corpus: Corpus, params: TfidfParams, name: str = "features"
) -> Rows:
    """Stage 1: TF-IDF rows of the texts, or the corpus's own rows brought to length 1."""
    if corpus.texts is None:
        assert corpus.X is not None
        X_NF = normalize_rows(as_csr(corpus.X, "X"))
        return Rows(X_NF, None, content_hash(X_NF))
    texts = corpus.texts

    def produce(folder: Path) -> None:
        features = TfidfFeatures(params)
        X_NF = features.fit_transform(texts, runner.progress)
        features.save(folder / "features")
        save_csr(folder, "X", X_NF)

    inputs = {"texts": content_hash(texts)}
    stage = runner.run(name, 1, asdict(params), inputs, produce)
    X_NF = load_csr(stage.folder, "X")
    return Rows(X_NF, TfidfFeatures.load(stage.folder / "features"), stage.output_hash)


def labels_key(corpus: Corpus) -> str:
    """What labels hash to, with all that says how much each counts.

    Where nothing has a weight it is the hash of Y alone, so that earlier runs stay valid; those on
    weights that were not looked at yet do not.
    """
    weights_N = as_row_weights(corpus.row_weights, corpus.num_instances)
    if weights_N is None and (corpus.Y.data == 1).all():
        return content_hash(corpus.Y)
    return content_hash(["weighted", corpus.Y, weights_N])


def weights_of(corpus: Corpus, rows: np.ndarray) -> np.ndarray | None:
    """The weights of some of the corpus's rows; None where all are 1."""
    if corpus.row_weights is None:
        return None
    return as_row_weights(corpus.row_weights[rows], len(rows))


def grow_tree(
    runner: StageRunner,
    name: str,
    params: TreeParams,
    grower: TreeGrower,
    labels: LabelTable,
    inputs: dict[str, str],
    seed: int | None = None,
) -> tuple[LabelTree, str]:
    """Stages 2 and 5: the label tree over PIFA of the rows, or the given taxonomy; and its hash.

    `seed` is the run's own where it is not given.
    """
    given, paths = given_tree(params, labels), paths_above(params, labels)
    if given is not None:
        inputs = {**inputs, "paths": content_hash(list(given.parents))}
    if paths is not None:
        inputs = {**inputs, "paths": content_hash(paths)}
    seed = runner.params.seed if seed is None else seed

    def produce(folder: Path) -> None:
        tree = grower.grow(params, seed, paths) if given is None else given
        tree.save(folder / "tree")

    stage = runner.run(name, 2, {"tree": asdict(params), "seed": seed}, inputs, produce)
    return LabelTree.load(stage.folder / "tree"), stage.output_hash


def rank(
    runner: StageRunner,
    name: str,
    X: HybridMatrix,
    Y_NL: sp.csr_array,
    tree: LabelTree,
    inputs: dict[str, str],
    seed: int | None = None,
) -> TreeRanker:
    """Stages 3 and 6: the rankers of every level of a tree.

    `seed` is the run's own where it is not given.
    """
    params = runner.params.ranker
    seed = runner.params.seed if seed is None else seed

    def produce(folder: Path) -> None:
        ranker = train_ranker(
            X, Y_NL, tree, params, seed, runner.num_threads, runner.progress, folder / "ranker"
        )
        ranker.save(folder / "ranker")

    stage = runner.run(name, 2, {"ranker": asdict(params), "seed": seed}, inputs, produce)
    return TreeRanker.load(stage.folder / "ranker")


def rank_trees(
    runner: StageRunner,
    prefix: str,
    X: HybridMatrix,
    Y_NL: sp.csr_array,
    labels: LabelTable,
    inputs: dict[str, str],
    num_trees: int,
    names: tuple[str, str] = ("tree", "linear"),
) -> TreeEnsemble:
    """Stages 2 and 3 for each tree of a model, `names` of which follow the prefix: label features
    are made once, rankers are trained one tree after the other.
    """
    params, grower = runner.params, TreeGrower(X, Y_NL, runner.num_threads, runner.progress)
    seeds = tree_seeds(params.tree, num_trees, params.seed, len(labels))
    suffixes = ["" if i == 0 else f"-{i + 1}" for i in range(len(seeds))]
    grown = [
        grow_tree(runner, f"{prefix}{names[0]}{suffix}", params.tree, grower, labels, inputs, seed)
        for suffix, seed in zip(suffixes, seeds, strict=True)
    ]
    del grower  # label features are not needed any more
    rankers = [
        rank(runner, f"{prefix}{names[1]}{suffix}", X, Y_NL, tree, {**inputs, "tree": key}, seed)
        for suffix, seed, (tree, key) in zip(suffixes, seeds, grown, strict=True)
    ]
    return TreeEnsemble(tuple(rankers))


@dataclass(frozen=True, eq=False)
class Matched:
    """The fine-tuned encoder's folder, the embeddings of all training rows, the head over
    labels.
    """

    encoder_folder: Path
    embeddings_NH: np.ndarray
    head: tuple[np.ndarray, np.ndarray] | None
    losses: list[list[float]]
    validations: list[list[dict[str, float]]]
    key: str


def match(
    runner: StageRunner,
    corpus: Corpus,
    tree: LabelTree,
    fit_rows: np.ndarray,
    validation_rows: np.ndarray,
    inputs: dict[str, str],
) -> Matched:
    """Stage 4: fine-tune the encoder level by level on the fit rows, then encode all rows."""
    params = runner.params
    assert corpus.texts is not None
    assert params.encoder is not None
    texts = corpus.texts

    def produce(folder: Path, scratch: Path) -> None:
        from xrt.encoder.embed import best_device, encode
        from xrt.encoder.tokens import TokenStore
        from xrt.encoder.training import fine_tune_matcher

        result = fine_tune_matcher(
            [texts[row] for row in fit_rows],
            as_csr(corpus.Y[fit_rows]),
            tree,
            run_folder=scratch,
            encoder=params.encoder,
            params=params.matcher,
            trainer=params.trainer,
            progress=runner.progress,
            validation=(
                [texts[row] for row in validation_rows],
                as_csr(corpus.Y[validation_rows]),
            )
            if len(validation_rows)
            else None,
            row_weights=weights_of(corpus, fit_rows),
            seed=params.seed,
        )
        encoder = result.encoder
        embeddings_NH = np.empty((len(texts), encoder.hidden_size), np.float32)
        embeddings_NH[fit_rows] = result.train_embeddings
        if len(validation_rows):
            held_out = [texts[row] for row in validation_rows]
            tokens = TokenStore.of_texts(held_out, encoder.tokenizer, encoder.max_length)
            embeddings_NH[validation_rows] = encode(
                encoder,
                tokens,
                bf16=uses_bf16(runner),
                device=best_device(params.trainer.accelerator),
                progress=runner.progress,
            )
        encoder.save(folder / "encoder")
        save_array(folder / "embeddings.npy", embeddings_NH)
        if result.levels[-1] == tree.depth - 1:
            save_array(folder / "head.weight.npy", result.heads[-1][0])
            save_array(folder / "head.bias.npy", result.heads[-1][1])
        write_json(folder / "losses.json", [result.losses.tolist()])
        write_json(folder / "validations.json", [result.validations])

    settings, files = encoder_identity(params.encoder)
    settings = {
        "encoder": settings,
        "matcher": asdict(params.matcher),
        "precision": params.trainer.precision,
        "seed": params.seed,
    }
    inputs = {**inputs, **files}
    stage = runner.run("matcher", 3, settings, inputs, produce, keeps_scratch=True)
    return read_matched(stage)


def encoder_identity(encoder: EncoderParams) -> tuple[dict[str, Any], dict[str, str]]:
    """An encoder's settings and its files, as a stage's parameters and inputs.

    A name says nothing of the files behind it, so it is left out where there are files: other
    weights in the same folder are another encoder, the same in another folder are not.
    """
    from xrt.encoder.resolve import hash_of_encoder

    files = hash_of_encoder(encoder.name)
    if files is None:
        return asdict(encoder), {}
    return asdict(encoder) | {"name": "files"}, {"encoder": files}


def uses_bf16(runner: StageRunner) -> bool:
    """Whether the encoder computes in bfloat16 on this machine's device."""
    from xrt.encoder.embed import best_device, supports_bf16
    from xrt.encoder.params import Precision

    wanted = runner.params.trainer.precision
    device = best_device(runner.params.trainer.accelerator)
    return wanted is not Precision.fp32 and supports_bf16(device)


def read_matched(stage: StageResult) -> Matched:
    """The outputs of the matcher's stage."""
    from xrt.storage.reading import load_array, read_json_bounded

    head = None
    if (stage.folder / "head.weight.npy").is_file():
        weight_LH = load_array(stage.folder / "head.weight.npy", np.float32, 2)
        head = (weight_LH, load_array(stage.folder / "head.bias.npy", np.float32, 1))
    embeddings_NH = load_array(stage.folder / "embeddings.npy", np.float32, 2)
    losses = read_json_bounded(stage.folder / "losses.json")
    validations = read_json_bounded(stage.folder / "validations.json")
    return Matched(
        stage.folder / "encoder", embeddings_NH, head, losses, validations, stage.output_hash
    )
