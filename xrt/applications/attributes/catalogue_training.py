"""What the attributes use adds to a training run: reading a catalogue, joint decoding, its figures.

N rows, A attributes, L labels.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.applications.attributes.catalogue_settings import require_effect
from xrt.applications.attributes.data.corpus import read_attributes
from xrt.applications.attributes.data.item_texts import ItemTexts
from xrt.applications.attributes.data.space import AttributeSpace
from xrt.applications.attributes.decoding.candidates import count_candidates
from xrt.applications.attributes.decoding.decoder import AttributeDecoder, BatchPosterior
from xrt.applications.attributes.decoding.way import choose_way, describe_choice, judge_way
from xrt.applications.attributes.evaluation import evaluate_decoding
from xrt.applications.attributes.label_trees import set_label_tree
from xrt.applications.attributes.predictor import complete_scores, save_parts
from xrt.applications.attributes.report_tables import build_report_tables
from xrt.applications.attributes.settings import AttributeSettings, Decode
from xrt.data.corpus import Corpus
from xrt.model import XrtModel
from xrt.pipeline.hooks import ApplicationReport, HeldOutScores
from xrt.pipeline.params import DatasetParams, PipelineParams
from xrt.pipeline.run import TrainOutcome, train
from xrt.progress import Progress
from xrt.storage.hashing import plain
from xrt.storage.seals import make_once

logger = logging.getLogger(__name__)

COMMAND = "xrt predict {model} catalogue.csv --out filled.csv"


def train_attributes(
    params: PipelineParams,
    settings: AttributeSettings,
    run_folder: str | Path,
    progress: Progress | None = None,
) -> TrainOutcome:
    """Train a model of product attributes.

    Args:
        params: The settings of the pipeline; `params.dataset.trn` is a catalogue.
        settings: Which columns are what, and how values are decoded.
        run_folder: As in `xrt.pipeline.train`, and so the next one.
        progress: Counts the steps of long work.

    Returns:
        Where the model lies and what it scored.

    Raises:
        XrtError: The settings, the catalogue or the machine are not fit for it.
    """
    hooks = AttributeHooks(settings, params.num_threads or None)
    return train(params, run_folder, progress, hooks)


@dataclass(eq=False)
class AttributeHooks:
    """Training hooks of the pipeline: called by `train` in the order of its methods."""

    settings: AttributeSettings
    num_threads: int | None = None
    item_texts: ItemTexts | None = None
    space: AttributeSpace | None = None
    decoder: AttributeDecoder | None = None
    counts_L: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    held_out: tuple[AttributeDecoder, np.ndarray, Sequence[BatchPosterior]] | None = None
    """The decoder that did not count the held-out rows, what these rows give, and each half of them
    weighed with the weights of the other. The saved decoder numbers paths otherwise."""

    def corpora(
        self, params: PipelineParams, run_folder: Path
    ) -> tuple[PipelineParams, Corpus, Corpus | None]:
        """The catalogue's rows that give an attribute, and the test file's.

        Args:
            params: Settings of the run; without a training file the demo is written and trained on.
            run_folder: Folder for files that are written on the way.

        Returns:
            The settings with the label tree, the training corpus, and the test corpus, None where
            there is none.
        """
        dataset = params.dataset
        require_effect(dataset)
        if dataset.trn is None:
            dataset = _generate_demo(dataset, run_folder, params.seed)
            params = replace(params, dataset=dataset)
        assert dataset.trn is not None
        corpus, self.space, self.item_texts = read_attributes(
            dataset.trn, self.settings.schema, format=dataset.format,
            weight_column=dataset.weight_column, group_column=dataset.group_column,
            time_column=dataset.time_column, skip_bad_lines=dataset.skip_bad_lines,
        )  # fmt: skip
        for message in corpus.report.messages():
            logger.info("%s", message)
        has_labels = np.diff(corpus.Y.indptr) > 0
        if not has_labels.all():
            logger.info(
                "%d rows that give no attribute are not trained on", int((~has_labels).sum())
            )
            corpus = corpus.subset(has_labels)
        corpus.require_trainable()
        self.counts_L = np.bincount(corpus.Y.indices, minlength=corpus.num_labels)
        params = set_label_tree(params, self.settings.label_tree, self.space, corpus, run_folder)
        if dataset.tst is None:
            return params, corpus, None
        tst, _, _ = read_attributes(
            dataset.tst, labels=corpus.labels, item_texts=self.item_texts,
            format=dataset.format, skip_bad_lines=dataset.skip_bad_lines,
        )  # fmt: skip
        for message in tst.report.messages():
            logger.info("%s", message)
        return params, corpus, tst

    def candidates(self, corpus: Corpus) -> int:
        """The more labels for a row, the more attributes rows give.

        Args:
            corpus: The training corpus.

        Returns:
            How many labels each source names for a row.
        """
        return count_candidates(int(np.diff(corpus.Y.indptr).max(initial=0)))

    def configuration(self) -> Mapping[str, Any]:
        """Schema, label tree and decoding, as plain values.

        Returns:
            The settings of attributes by name.
        """
        settings: Mapping[str, Any] = plain(self.settings)
        return settings

    def learn(self, corpus: Corpus, held_out: HeldOutScores | None) -> None:
        """How the values of a row go together.

        Args:
            corpus: The training corpus.
            held_out: Scores of held-out rows; None where no row could be held out.
        """
        assert self.space is not None
        cells_NA = self.space.cells_of(corpus.Y)
        if held_out is None:
            decode = self.settings.decode
            way = Decode.row if decode is Decode.auto else decode
            self.decoder = replace(AttributeDecoder.of(self.space, cells_NA), way=way)
            return
        training_NA = np.delete(cells_NA, held_out.rows, axis=0)
        rows_NA = cells_NA[held_out.rows]
        decoder = AttributeDecoder.of(self.space, training_NA).learn(held_out.scores_NL, rows_NA)
        logger.info("attributes, on held-out rows: %s", decoder.figures)
        batches, places = decoder.cross_weigh(held_out.scores_NL)
        decoder = choose_way(decoder, batches, rows_NA[places], self.settings.decode)
        self.held_out = decoder, rows_NA[places], batches
        logger.info("attributes: %s", describe_choice(decoder.figures["decode"]))
        self.decoder = decoder.recount(cells_NA)

    def judge(
        self, model: XrtModel, corpus: Corpus | None, scores_NL: sp.csr_array | None
    ) -> ApplicationReport:
        """The table of attributes on the test file; without one, on the held-out rows.

        Args:
            model: The model that ships.
            corpus: The test corpus, or None.
            scores_NL: The model's scores of it, sparse (N, L), or None.

        Returns:
            The report; only a sentence where there is nothing to judge.
        """
        assert self.space is not None
        assert self.decoder is not None
        decoder = self.decoder
        batches: Sequence[BatchPosterior]
        if corpus is not None and scores_NL is not None:
            assert corpus.texts is not None
            threads = self.num_threads
            scores_NL = complete_scores(model, corpus.texts, scores_NL, self.space, threads)
            batches, where = self.decoder.weigh(scores_NL, num_threads=threads), "test file"
            cells_NA = replace(self.space, labels=corpus.labels).cells_of(corpus.Y)
        elif self.held_out is not None:
            decoder, cells_NA, batches = self.held_out
            where = f"{len(cells_NA):,} held-out training rows"
        else:
            text = "no row could be held out: nothing to judge; give dataset.tst"
            return ApplicationReport(text=text, command=COMMAND)
        return self._report(decoder, cells_NA, batches, where)

    def write(self, folder: Path) -> None:
        """What prediction needs beside the model.

        Args:
            folder: The folder that the model is being written into.
        """
        assert self.item_texts is not None
        assert self.decoder is not None
        save_parts(folder, self.item_texts, self.decoder)

    def _report(
        self,
        decoder: AttributeDecoder,
        cells_NA: np.ndarray,
        batches: Sequence[BatchPosterior],
        where: str,
    ) -> ApplicationReport:
        evaluation = evaluate_decoding(decoder, cells_NA, batches, self.counts_L)
        report = evaluation.report
        tables, plots = build_report_tables(
            report, cells_NA, evaluation.values.columns_NA, decoder.space,
            find_parent_columns(decoder), where=where,
            num_impossible_paths=evaluation.num_impossible_paths,
        )  # fmt: skip
        metrics = {
            f"accuracy {figures.name}": figures.scores.accuracy
            for figures in report.attributes
            if figures.scores is not None
        }
        if report.item_accuracy is not None:
            metrics["item accuracy"] = report.item_accuracy
        return ApplicationReport(
            text=f"attributes on the {where}\n\n{evaluation.to_text()}",
            content={"attributes": {"where": where, **evaluation.to_dict()}},
            tables=[*tables, evaluation.to_table()],
            plots=plots,
            metrics={"attributes": metrics},
            command=COMMAND,
            judgements=judge_way(decoder.figures),
        )


def _generate_demo(dataset: DatasetParams, run_folder: Path, seed: int) -> DatasetParams:
    """Write the demo catalogue as a wide table into the run folder, once; the test file has the
    true values, whatever the catalogue lost.
    """
    from xrt.applications.attributes.demo import write_attribute_demo

    folder = run_folder / f"demo-attributes-{dataset.demo_rows}-{seed}"

    def write() -> None:
        num_test = max(1, min(dataset.demo_rows // 6, 50_000))
        write_attribute_demo(folder, dataset.demo_rows, num_test, seed)

    make_once([folder / name for name in ("trn.csv", "tst_truth.csv")], write)
    return replace(dataset, trn=str(folder / "trn.csv"), tst=str(folder / "tst_truth.csv"))


def find_parent_columns(decoder: AttributeDecoder) -> np.ndarray:
    """The label column that each value of the hierarchy mostly stands under: int64 (L,); the number
    of labels for values of the top level, -1 for labels outside of the hierarchy.

    Args:
        decoder: The decoder, with the paths that training saw.

    Returns:
        The parent of each label (L,).
    """
    taxonomy, num_labels = decoder.finder.taxonomy, len(decoder.space.labels)
    parents_L = np.full(num_labels, -1, np.int64)
    for d in range(taxonomy.depth):
        columns_P = taxonomy.paths_PD[:, d].astype(np.int64)
        above_P = (
            taxonomy.paths_PD[:, d - 1].astype(np.int64)
            if d
            else np.full_like(columns_P, num_labels)
        )
        both = (columns_P >= 0) & (above_P >= 0)
        places = columns_P[both], above_P[both]
        counts = sp.coo_array(
            (taxonomy.counts_P[both].astype(np.float64), places), shape=(num_labels, num_labels + 1)
        ).tocsr()
        rows = np.flatnonzero(np.diff(counts.indptr))
        parents_L[rows] = [
            counts.indices[a:b][np.argmax(counts.data[a:b])]
            for a, b in zip(counts.indptr[rows], counts.indptr[rows + 1], strict=True)
        ]
    return parents_L
