"""The stages that run the encoder: fine-tuning, the frozen embeddings, those of the labels' names.

N training rows, L labels, R labels that have a name, H hidden width.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xrt.encoder.params import EncoderParams
from xrt.pipeline.rows import HeldOut, TrainingRows, lazy_hash
from xrt.pipeline.runner import StageRunner
from xrt.pipeline.trees import PlantedTree
from xrt.storage.atomic import save_array, write_json
from xrt.storage.reading import load_array, read_json_bounded
from xrt.storage.stages import Hash, Settings, Stage, Workspace

if TYPE_CHECKING:
    from xrt.encoder.attachments import Attachments
    from xrt.encoder.pacing import TimeLimit

VALIDATIONS = "validations.jsonl"
"""File of a run folder: a line for each validation while the matcher is fine-tuned."""


@dataclass(frozen=True, eq=False)
class MatcherOutputs:
    """What fine-tuning the matcher gives.

    Attributes:
        encoder_folder: the fine-tuned encoder.
        embeddings_NH: embeddings of all training rows, not of length 1.
        head: weight (L, H) and bias (L,) of the head over labels; None where it was not trained
            down to them.
        losses: of each step of each stage of fine-tuning.
        validations: figures on held-out rows, of each stage of fine-tuning.
        pace: of a fine-tuning within a time: steps as planned, steps made, seconds of these.
    """

    encoder_folder: Path
    embeddings_NH: np.ndarray
    head: tuple[np.ndarray, np.ndarray] | None
    losses: list[list[float]]
    validations: list[list[dict[str, float]]]
    pace: dict[str, float] | None = None


def _save_matcher(output: MatcherOutputs, folder: Path) -> None:
    """The encoder is in the folder already."""
    save_array(folder / "embeddings.npy", output.embeddings_NH)
    if output.head is not None:
        save_array(folder / "head.weight.npy", output.head[0])
        save_array(folder / "head.bias.npy", output.head[1])
    write_json(folder / "losses.json", output.losses)
    write_json(folder / "validations.json", output.validations)
    if output.pace is not None:
        write_json(folder / "pace.json", output.pace)


def _load_matcher(folder: Path) -> MatcherOutputs:
    head = None
    if (folder / "head.weight.npy").is_file():
        weight_LH = load_array(folder / "head.weight.npy", np.float32, 2)
        head = (weight_LH, load_array(folder / "head.bias.npy", np.float32, 1))
    return MatcherOutputs(
        encoder_folder=folder / "encoder",
        embeddings_NH=load_array(folder / "embeddings.npy", np.float32, 2),
        head=head,
        losses=read_json_bounded(folder / "losses.json"),
        validations=read_json_bounded(folder / "validations.json"),
        pace=read_json_bounded(pace) if (pace := folder / "pace.json").is_file() else None,
    )


MATCHER = Stage(
    "matcher", 4, ("matcher", "trainer.precision", "seed"), _save_matcher, _load_matcher,
    needs_folder=True,
)  # fmt: skip


def fine_tune_matcher(
    runner: StageRunner,
    rows: TrainingRows,
    planted: PlantedTree,
    held: HeldOut,
    inputs: Mapping[str, Hash],
    limit: "TimeLimit | None" = None,
) -> tuple[MatcherOutputs, Hash]:
    """Stage 4: fine-tune the encoder on the levels of a tree, then encode all rows.

    Args:
        runner: runs the stage.
        rows: the training rows; they have texts.
        planted: the tree.
        held: the rows to train on, and the held-out rows, which choose the best weights.
        inputs: hashes of texts, labels and held-out rows.
        limit: a time that the fine-tuning keeps.

    Returns:
        The encoder with its head and the embeddings, and their hash.
    """
    params, corpus = runner.params, rows.corpus
    assert corpus.texts is not None
    assert params.encoder is not None
    texts, encoder_params = corpus.texts, params.encoder

    attachments = _attachments(runner)

    def make(settings: Settings, workspace: Workspace) -> MatcherOutputs:
        from xrt.encoder.devices import device_of
        from xrt.encoder.embed import encode
        from xrt.encoder.tokens import TokenStore
        from xrt.encoder.training import fine_tune_matcher as fine_tune

        assert workspace.folder is not None
        assert workspace.scratch is not None
        fit_rows, held_out = held.train, [texts[row] for row in held.every]
        num_judged = len(held.validation)
        result = fine_tune(
            [texts[row] for row in fit_rows],
            rows.labels_of(fit_rows),
            planted.tree,
            run_folder=workspace.scratch,
            encoder=encoder_params,
            params=settings["matcher"],
            trainer=params.trainer,
            progress=runner.progress,
            validation=(held_out[:num_judged], rows.labels_of(held.validation)),
            row_weights=rows.weights_of(fit_rows),
            seed=settings["seed"],
            limit=limit,
            attachments=attachments,
        )
        encoder = result.encoder
        embeddings_NH = np.empty((len(texts), encoder.hidden_size), np.float32)
        embeddings_NH[fit_rows] = result.train_embeddings
        embeddings_NH[held.every] = encode(
            encoder,
            TokenStore.of_texts(held_out, encoder.tokenizer, encoder.max_length),
            bf16=uses_bf16(runner),
            device=device_of(params.trainer),
            progress=runner.progress,
        )
        encoder.save(workspace.folder / "encoder")
        return MatcherOutputs(
            encoder_folder=workspace.folder / "encoder",
            embeddings_NH=embeddings_NH,
            head=result.heads[-1] if result.levels[-1] == planted.tree.depth - 1 else None,
            losses=[result.losses.tolist()],
            validations=[result.validations],
            pace=result.pace,
        )

    identity, files = encoder_identity(encoder_params)
    parameters = {"encoder": identity}
    if limit is not None:  # its end depends on the time, so it is another output
        parameters["limit"] = asdict(limit)
    if params.trainer.changing or attachments.names:
        parameters["lightning"] = {**params.trainer.changing, "attached": attachments.names}
    stage = runner.run(
        MATCHER, make, {**inputs, **files, "tree": planted.hash}, parameters=parameters
    )
    return stage.value, stage.hash


def _attachments(runner: StageRunner) -> "Attachments":
    """What takes part in the fine-tuning beside the settings; it writes into the run folder."""
    from xrt.encoder.attachments import Attachments

    folder, record = runner.cache.record("logs"), runner.cache.record(VALIDATIONS)
    return Attachments(folder or Path("lightning_logs"), runner.callbacks, runner.loggers, record,
                       runner.group)  # fmt: skip


@dataclass(frozen=True, eq=False)
class FrozenOutputs:
    """The encoder as it is before fine-tuning, and its embeddings of all rows: (N, H)."""

    encoder_folder: Path
    embeddings_NH: np.ndarray


FROZEN = Stage[FrozenOutputs](
    "frozen", 2, ("trainer.precision", "seed"),
    save=lambda output, folder: save_array(folder / "embeddings.npy", output.embeddings_NH),
    load=lambda folder: FrozenOutputs(
        folder / "encoder", load_array(folder / "embeddings.npy", np.float32, 2)
    ),
    needs_folder=True,
)  # fmt: skip


def embed_frozen(runner: StageRunner, rows: TrainingRows) -> tuple[FrozenOutputs, Hash]:
    """The stage of the frozen embeddings: the encoder as it is before training reads all texts.

    Args:
        runner: runs the stage; an encoder is set.
        rows: the training rows, N texts.

    Returns:
        The encoder with its embeddings, float32 (N, H); and the hash of both.
    """
    encoder_params, texts = runner.params.encoder, rows.corpus.texts
    assert encoder_params is not None
    assert texts is not None

    def make(settings: Settings, workspace: Workspace) -> FrozenOutputs:
        from xrt.encoder.backbone import TextEncoder
        from xrt.encoder.resolve import resolve_encoder

        assert workspace.folder is not None
        home = resolve_encoder(
            encoder_params.name, work_folder=workspace.folder, texts=texts, seed=settings["seed"]
        )
        saved = workspace.folder / "encoder"
        TextEncoder.from_pretrained(home, encoder_params).save(saved)
        return FrozenOutputs(saved, embed_texts(runner, saved, texts))

    identity, files = encoder_identity(encoder_params)
    identity = {name: identity[name] for name in ("name", "pooling", "max_length")}
    inputs: dict[str, Hash] = {"texts": lazy_hash(texts), **files}
    stage = runner.run(FROZEN, make, inputs, parameters={"encoder": identity})
    return stage.value, stage.hash


LABEL_NAMES = Stage[np.ndarray](
    "label-names", 2, ("trainer.precision",),
    save=lambda embeddings_RM, folder: save_array(folder / "embeddings.npy", embeddings_RM),
    load=lambda folder: load_array(folder / "embeddings.npy", np.float32, 2),
)  # fmt: skip


def embed_names(
    runner: StageRunner, names: tuple[str, ...], folders: list[Path], encoders_hash: Hash
) -> np.ndarray:
    """The stage of the names' embeddings.

    Args:
        runner: runs the stage.
        names: of R labels.
        folders: the encoders whose embeddings stand side by side.
        encoders_hash: of these encoders.

    Returns:
        Embeddings, not of length 1: float32 (R, M).
    """

    def make(settings: Settings, workspace: Workspace) -> np.ndarray:
        return np.hstack([embed_texts(runner, home, list(names)) for home in folders])

    inputs: dict[str, Hash] = {"blocks": encoders_hash, "names": lazy_hash(list(names))}
    return runner.run(LABEL_NAMES, make, inputs).value


def encoder_identity(encoder: EncoderParams) -> tuple[dict[str, Any], dict[str, str]]:
    """An encoder's settings and its files, as a stage's parameters and inputs.

    A name says nothing of the files behind it, so it is left out where there are files: other
    weights in the same folder are another encoder, the same in another folder are not.

    Args:
        encoder: settings of the encoder.

    Returns:
        The settings as plain values, with the name "files" where there are files; and the hash of
        the files, empty where there are none.
    """
    from xrt.encoder.resolve import hash_of_encoder

    files = hash_of_encoder(encoder.name)
    if files is None:
        return asdict(encoder), {}
    return asdict(encoder) | {"name": "files"}, {"encoder": files}


def embed_texts(runner: StageRunner, encoder_folder: Path, texts: list[str]) -> np.ndarray:
    """Embeddings of texts by a saved encoder, not of length 1.

    Args:
        runner: says which device and precision, and shows progress.
        encoder_folder: folder of the encoder.
        texts: N texts.

    Returns:
        float32 (N, H).
    """
    from xrt.encoder.backbone import TextEncoder
    from xrt.encoder.devices import device_of
    from xrt.encoder.embed import encode
    from xrt.encoder.tokens import TokenStore

    encoder = TextEncoder.load(encoder_folder)
    return encode(
        encoder,
        TokenStore.of_texts(texts, encoder.tokenizer, encoder.max_length),
        bf16=uses_bf16(runner),
        device=device_of(runner.params.trainer),
        progress=runner.progress,
    )


def uses_bf16(runner: StageRunner) -> bool:
    """Whether the encoder computes in bfloat16 on this machine's device.

    Args:
        runner: has the settings of the trainer.

    Returns:
        False where the settings say fp32, or the device cannot.
    """
    from xrt.encoder.devices import device_of
    from xrt.encoder.embed import supports_bf16
    from xrt.encoder.params import Precision

    precision = runner.params.trainer.precision
    device = device_of(runner.params.trainer)
    return precision is not Precision.fp32 and supports_bf16(device)
