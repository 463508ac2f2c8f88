"""The corpora of a run: the training file, and the test file read with its label table."""

import logging
from dataclasses import replace
from pathlib import Path

from xrt.data.corpus import Corpus
from xrt.data.formats import read_corpus
from xrt.errors import ConfigError, DataError
from xrt.pipeline.params import DatasetParams
from xrt.sparse import binarize
from xrt.storage.seals import make_once

logger = logging.getLogger(__name__)


def load_corpora(
    params: DatasetParams, run_folder: Path, seed: int
) -> tuple[Corpus, Corpus | None]:
    """The training corpus, and the test corpus where one is named.

    Labels of the test file that training never saw stand at the end of its table.

    Args:
        params: the files and how they are read; without files the demo catalogue is written.
        run_folder: folder for files of the demo, and for bad lines of a test file that has the
            training file's name.
        seed: seed of the demo catalogue.

    Returns:
        The training corpus; the test corpus, None where none is named.

    Raises:
        DataError: a file cannot be used, or the two do not belong together.
        ConfigError: a test file stands alone.
    """
    if params.trn is None:
        if params.tst is not None:
            raise ConfigError(
                "dataset.tst is given without dataset.trn; name the training file too"
            )
        params = _write_demo_files(params, run_folder, seed)
    assert params.trn is not None
    trn = read_corpus(
        params.trn,
        labels=None,
        weight_column=params.weight_column,
        group_column=params.group_column,
        time_column=params.time_column,
        **_reading(params),  # type: ignore[arg-type]
    )
    if not params.confidences:
        trn = replace(trn, Y=binarize(trn.Y))
    _log_report(trn)
    trn.require_trainable()
    if params.tst is None:
        return trn, None
    same_name = Path(params.tst).name == Path(params.trn).name
    tst = read_corpus(
        params.tst,
        bad_lines_folder=run_folder if same_name else ".",  # never over those of the training file
        labels=trn.labels,
        filters=params.filters,
        **_reading(params),  # type: ignore[arg-type]
    )
    _log_report(tst)
    require_same_inputs(trn, tst)
    return trn, tst


def require_same_inputs(trn: Corpus, tst: Corpus) -> None:
    """Check that a model of `trn` can read `tst`, before hours of training.

    Args:
        trn: the training corpus.
        tst: the test corpus.

    Raises:
        DataError: one has texts and the other rows of features, or rows of another width.
    """
    kinds = ["texts" if corpus.texts is not None else "rows of features" for corpus in (trn, tst)]
    if kinds[0] != kinds[1]:
        raise DataError(
            f"{tst.report.path}: has {kinds[1]}, the training file {kinds[0]}; give both alike"
        )
    if trn.texts is not None:
        return
    assert trn.X is not None
    assert tst.X is not None
    if tst.X.shape[1] != trn.X.shape[1]:
        raise DataError(
            f"{tst.report.path}: {tst.X.shape[1]} features, the training file has "
            f"{trn.X.shape[1]}; give files of the same set"
        )


def _reading(params: DatasetParams) -> dict[str, object]:
    options: dict[str, object] = {
        "format": params.format,
        "label_names": params.labels,
        "text_columns": params.text_columns,
        "label_separator": params.label_separator,
        "id_column": params.id_column,
        "skip_bad_lines": params.skip_bad_lines,
    }
    if params.label_columns is not None:
        one = len(params.label_columns) == 1
        options["label_column"] = params.label_columns[0] if one else params.label_columns
    return options


def _write_demo_files(params: DatasetParams, run_folder: Path, seed: int) -> DatasetParams:
    """Write the demo catalogue into the run folder, once, and name its files."""
    from xrt.demo.catalogue import write_demo

    folder = run_folder / f"demo-{params.demo_rows}-{seed}"

    def write() -> None:
        num_test = max(1, params.demo_rows // 6)
        write_demo(folder, num_train=params.demo_rows, num_test=num_test, seed=seed)

    make_once([folder / name for name in ("trn.jsonl", "tst.jsonl", "labels.tsv")], write)
    return replace(params, trn=str(folder / "trn.jsonl"), tst=str(folder / "tst.jsonl"))


def _log_report(corpus: Corpus) -> None:
    for message in corpus.report.messages():
        logger.info("%s", message)
