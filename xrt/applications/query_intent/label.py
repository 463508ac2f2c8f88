"""`label_queries`: from clicks and a catalogue to a training corpus of queries with soft labels.

The log is read once, batch by batch, and laid down in parts by query; the labelling model is
trained on the first queries (in the order of their CRC, which is as good as a random draw); then
part after part is labelled and written. Memory: the catalogue, the sample, one batch, one part.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl

from xrt.applications.query_intent.catalogue import Catalogue, catalogue_of, read_catalogue
from xrt.applications.query_intent.clicks.log import ClickLog
from xrt.applications.query_intent.clicks.partitions import Partitions, QueryGroup
from xrt.applications.query_intent.decision import decide
from xrt.applications.query_intent.group_evidence import GroupEvidence, QueryText
from xrt.applications.query_intent.labeller import TrainedLabeller, first_queries, train_labeller
from xrt.applications.query_intent.labelling_params import LabellingParams
from xrt.applications.query_intent.report import LabellingReport
from xrt.data.corpus import Corpus
from xrt.data.formats import read_corpus
from xrt.data.frames import frame_faults
from xrt.data.sources import open_packed
from xrt.errors import DataError
from xrt.progress import Progress
from xrt.storage.atomic import is_written_into, scratch_folder, sweep_stale, write_json

_BATCH_QUERIES = 2_000
_MAX_VARIANTS = 5


@dataclass(frozen=True)
class LabellingResult:
    """The corpus file, and the report."""

    path: Path
    report: LabellingReport

    def read(self) -> Corpus:
        """The corpus; confidences are the values of Y.

        Returns:
            The queries with their labels; rows may have none.
        """
        return read_corpus(self.path, require_labels=False)


def label_queries(
    clicks: str | Path | pl.DataFrame,
    catalogue: str | Path | Corpus | Catalogue,
    out: str | Path,
    params: LabellingParams | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    skip_bad_lines: bool = False,
    progress: Progress | None = None,
) -> LabellingResult:
    """Write a corpus of all queries of the log, each with its labels and their confidence.

    Lines of the corpus: `uid`, `text` (the normalised query), `labels` (label -> confidence, empty
    where no value is meant), and `variants`, ways it was typed, where there are others. Beside it
    `OUT.report.json` is written. Both appear whole or not at all.

    Args:
        clicks: A file, a folder of files, or a frame, with columns `query`, `item`, `count`,
            `impressions`, `position`; the last three may be missing.
        catalogue: Items with ids and labels `attribute=value`.
        out: The corpus, JSONL; packed when it ends in `.gz` or `.xz`.
        params: Settings.
        columns: What the log calls its columns, e.g. `{"item": "sku"}`.
        skip_bad_lines: Write bad rows beside the corpus instead of raising.
        progress: Informed of every step.

    Returns:
        Where the corpus is, and the report.

    Raises:
        DataError: the log or the catalogue cannot be used, or they agree on too little to learn.
    """
    params = params or LabellingParams()
    items = _catalogue(catalogue)
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    sweep_stale(out)
    with scratch_folder(out) as work:
        if isinstance(clicks, pl.DataFrame):
            with frame_faults("clicks", "the frame cannot be used"):
                clicks.write_parquet(work / "clicks.parquet")
            clicks = work / "clicks.parquet"
        log = ClickLog(
            clicks,
            columns=columns,
            batch_rows=params.batch_rows,
            max_count=params.max_count,
            skip_bad_lines=skip_bad_lines,
            bad_lines_folder=out.parent,
            progress=progress,
        )
        (work / "parts").mkdir()
        partitions = Partitions(work / "parts")
        partitions.fill(log, items.items)
        log_report = log.report
        if (
            log_report.num_unknown_items
            == log_report.num_rows - log_report.num_bad - log_report.num_blank_queries
            > 0
        ):
            raise DataError(
                f"{clicks}: none of its items is among the catalogue's {len(items.items)}, which "
                f"are such as {next(iter(items.items))!r}; use the same ids in both"
            )
        sample = first_queries(
            partitions.groups(params.partition_rows), params.max_training_queries
        )
        labeller = train_labeller(sample, items, params, progress)
        report = _report(log, items, labeller)
        num_sampled = len(sample.queries)
        del sample
        groups = partitions.groups(params.partition_rows)
        with open_packed(out) as file, _reported(progress, sum(partitions.num_rows)):
            for group in groups:
                _write_group(group, items, labeller, num_sampled, params, report, file)
                if progress is not None:
                    progress.advance(len(group.rows), queries=report.num_queries)
    if not is_written_into(out):  # a device has no neighbours
        write_json(out.with_name(f"{out.name}.report.json"), report.to_dict())
    return LabellingResult(out, report)


def _catalogue(catalogue: str | Path | Corpus | Catalogue) -> Catalogue:
    if isinstance(catalogue, Catalogue):
        return catalogue
    return catalogue_of(catalogue) if isinstance(catalogue, Corpus) else read_catalogue(catalogue)


def _report(log: ClickLog, catalogue: Catalogue, labeller: TrainedLabeller) -> LabellingReport:
    return LabellingReport(
        log=log.report,
        notes=list(catalogue.notes),
        examination=None if labeller.examination is None else labeller.examination.tolist(),
        num_training_queries=labeller.num_queries,
        num_agreed_true=labeller.num_true,
        num_agreed_false=labeller.num_false,
        num_sure=labeller.num_sure,
    )


@contextlib.contextmanager
def _reported(progress: Progress | None, total: int) -> Iterator[None]:
    if progress is not None:
        progress.start("judge (rows)", total)
    yield
    if progress is not None:
        progress.finish()


def _write_group(
    group: QueryGroup,
    catalogue: Catalogue,
    labeller: TrainedLabeller,
    num_sampled: int,
    params: LabellingParams,
    report: LabellingReport,
    file: BinaryIO,
) -> None:
    """Label the queries of a group and write them; the first `num_sampled` of all are the sample
    that aliases were learnt from.
    """
    evidence = GroupEvidence(group, catalogue, labeller.examination, params)
    before = report.num_queries
    for start in range(0, len(group.queries), _BATCH_QUERIES):
        numbers = range(start, min(start + _BATCH_QUERIES, len(group.queries)))
        texts = [QueryText(q, group.queries[q], before + q < num_sampled) for q in numbers]
        pairs = evidence.pairs(texts, labeller.words)
        probability_P = labeller.model.predict(pairs.features_PF)
        queries, labels, confidence = decide(pairs.query_P, pairs.label_P, probability_P, catalogue)
        accepted = confidence >= params.min_confidence
        report.count(queries, labels, confidence, accepted, catalogue)
        labels_of: dict[int, dict[str, float]] = {q: {} for q in numbers}
        for q, label, sure in zip(
            queries[accepted].tolist(),
            labels[accepted].tolist(),
            confidence[accepted].tolist(),
            strict=True,
        ):
            labels_of[q][catalogue.labels[label]] = round(sure, 4)
        for q, weights in labels_of.items():
            record: dict[str, object] = {"uid": f"q{before + q}", "text": group.queries[q]}
            record["labels"] = weights
            if group.variants[q]:
                record["variants"] = group.variants[q][:_MAX_VARIANTS]
            file.write(json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        report.num_labelled += int(
            np.count_nonzero([bool(weights) for weights in labels_of.values()])
        )
    report.num_queries += len(group.queries)
    report.num_with_variants += sum(bool(forms) for forms in group.variants)
