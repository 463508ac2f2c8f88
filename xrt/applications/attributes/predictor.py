"""`AttributePredictor`: items in, one value of each attribute out.

    predictor = AttributePredictor.load("runs/catalogue/model")
    predictor.predict_items([{"title": "tavola stoneware bowl 24 cm", "price": "12.50 EUR"}])

N rows, A attributes, L labels.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from xrt.applications.attributes.catalogue_settings import Reading
from xrt.applications.attributes.data.catalogue import CatalogueTable
from xrt.applications.attributes.data.item_texts import ItemTexts
from xrt.applications.attributes.data.schema import AttributeSchema
from xrt.applications.attributes.data.space import AttributeSpace
from xrt.applications.attributes.decoding.candidates import count_candidates
from xrt.applications.attributes.decoding.decoder import AttributeDecoder, BatchPosterior
from xrt.applications.attributes.settings import Decode
from xrt.errors import ArtifactError, ConfigError, DataError
from xrt.inputs import is_table
from xrt.model import XrtModel
from xrt.predict import Predictor, Suggestion
from xrt.search.constraints import Constraint
from xrt.sparse import as_csr
from xrt.storage.artifact import reading_parts
from xrt.storage.atomic import write_json
from xrt.storage.saved_values import SavedValues

SETTINGS = "attributes.json"
ARRAYS = "attributes"


@dataclass(frozen=True, eq=False)
class AttributePredictions:
    """For each row and attribute a label column of the space, int32 (N, A): a value, or the label
    "none", or -1 where the model has nothing to say; the probability of each, float32 (N, A), and
    of all of a row together, float32 (N,).
    """

    space: AttributeSpace
    columns_NA: np.ndarray
    probabilities_NA: np.ndarray
    row_probabilities_N: np.ndarray

    def suggestions(self, row: int) -> dict[str, Suggestion]:
        """The values of a row by attribute; a Suggestion's name is the bare value, '' for none.

        Args:
            row: The position of the row.

        Returns:
            Attribute -> its value; attributes of which the model says nothing are left out.
        """
        ids, names = self.space.labels.ids, self.space.labels.names
        columns = zip(self.space.attributes, self.columns_NA[row].tolist(), strict=True)
        return {
            name: Suggestion(ids[column], names[column], float(self.probabilities_NA[row, a]))
            for a, (name, column) in enumerate(columns)
            if column >= 0
        }


class AttributePredictor:
    """A loaded model of product attributes that predicts any number of tables."""

    def __init__(
        self, predictor: Predictor, item_texts: ItemTexts, decoder: AttributeDecoder
    ) -> None:
        """Wrap parts in memory; `AttributePredictor.load` is the usual way."""
        self.predictor, self.item_texts, self.decoder = predictor, item_texts, decoder
        self._last: tuple[CatalogueTable, sp.csr_array] | None = None
        self._last_batches: tuple[CatalogueTable, list[BatchPosterior]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """All but what is known of the last table."""
        return {**vars(self), "_last": None, "_last_batches": None}

    @classmethod
    def load(
        cls,
        folder: str | Path,
        verify: bool | str = True,
        num_threads: int | None = None,
        compute: str = "auto",
        decode: str | None = None,
        expect: str | None = None,
    ) -> Self:
        """Open a model that `xrt train experiment=attributes` saved.

        Args:
            folder: The model.
            verify: As in `Predictor.load`, and so the next two.
            num_threads: Threads of everything but the encoder.
            compute: Where the encoder runs.
            decode: `row`: the most probable row, values that go together along a path that training
                saw; `each`: the most probable value of each attribute by itself, more often right
                at a level and less often in whole rows. None: as training chose.
            expect: The digest that the model must have.

        Returns:
            The predictor.

        Raises:
            ConfigError: another `decode`.
            ArtifactError: the folder is missing or damaged, its model is for labels alone, or it is
                another than expected.
        """
        predictor = Predictor.load(folder, verify, num_threads, compute, expect)
        with reading_parts(folder):
            item_texts, decoder = load_parts(Path(folder), predictor.model)
        if decode is not None:
            decoder = replace(decoder, way=_way(decode))
        return cls(predictor, item_texts, decoder)

    @property
    def reading(self) -> Reading:
        """How the training file was read."""
        artifact = self.predictor.artifact
        return Reading() if artifact is None else Reading.of(artifact.manifest)

    @property
    def schema(self) -> AttributeSchema:
        """The roles of the columns, resolved."""
        return self.item_texts.schema

    @property
    def space(self) -> AttributeSpace:
        """The attributes and their values."""
        return self.decoder.space

    def predict(
        self, table: CatalogueTable, cells_NA: np.ndarray | None = None
    ) -> AttributePredictions:
        """The most probable values of each row of a table, target columns not looked at; with
        `cells_NA`, label columns int32 (N, A) or -1, those that go with these.

        Raises DataError when no text column is there.

        Args:
            table: N rows.
            cells_NA: Values that are given, -1 where none is; None: nothing is given.

        Returns:
            The values and their probabilities.
        """
        if cells_NA is None:
            batches = self._weigh_table(table)
        else:
            threads = self.predictor.num_threads
            batches = self.decoder.weigh(self.scores(table), cells_NA, threads)
        values = self.decoder.decode_batches(batches)
        return AttributePredictions(
            self.space, values.columns_NA, values.probabilities_NA, values.row_probabilities_N
        )

    def predict_items(self, items: Sequence[Mapping[str, Any]]) -> list[dict[str, Suggestion]]:
        """The values of each item, given as a mapping from column to cell: attribute -> Suggestion.

        Raises DataError when no item has one of the text columns, or for anything but items.

        Args:
            items: The items.

        Returns:
            One dict for each item, in order.
        """
        if is_table(items) or not isinstance(items, Iterable):
            raise DataError(
                f"items is a {type(items).__name__}; pass a list of mappings from column to cell"
            )
        predictions = self.predict(CatalogueTable.from_items(items))
        return [predictions.suggestions(row) for row in range(len(predictions.columns_NA))]

    def probability_of(self, table: CatalogueTable, columns_NA: np.ndarray) -> np.ndarray:
        """The probability of given values, label columns int32 (N, A): float32 (N, A), 0 for values
        that the search did not find, nan where a column is -1.

        Args:
            table: N rows.
            columns_NA: The label column of each value, or -1.

        Returns:
            The probabilities (N, A).
        """
        return self.decoder.probability_of(self._weigh_table(table), columns_NA)

    def _weigh_table(self, table: CatalogueTable) -> list[BatchPosterior]:
        """The candidates of a table by its texts alone; those of the last table stay in memory."""
        if self._last_batches is None or self._last_batches[0] is not table:
            batches = self.decoder.weigh(self.scores(table), None, self.predictor.num_threads)
            self._last_batches = table, batches
        return self._last_batches[1]

    def scores(self, table: CatalogueTable) -> sp.csr_array:
        """Scores of the best labels of each row, some of every attribute: (N, L), in [0, 1]. Those
        of the last table stay in memory.

        Args:
            table: N rows.

        Returns:
            The scores, sparse (N, L).
        """
        if self._last is None or self._last[0] is not table:
            texts = self.item_texts.texts(table)
            model, threads = self.predictor.model, self.predictor.num_threads
            k = count_candidates(self.space.num_attributes)
            scores_NL = model.predict(texts, k, num_threads=threads)
            self._last = table, complete_scores(model, texts, scores_NL, self.space, threads)
        return self._last[1]


@dataclass(frozen=True)
class ItemFiller:
    """The model behind a server: items in, a value of each attribute out."""

    model: AttributePredictor

    @property
    def predictor(self) -> Predictor:
        """The model of the labels below."""
        return self.model.predictor

    @property
    def fields(self) -> tuple[str, ...]:
        """The columns that the texts of items are made of."""
        return tuple(self.model.schema.input_columns())

    @property
    def attributes(self) -> tuple[str, ...]:
        """The columns whose values the model gives."""
        return tuple(self.model.space.attributes)

    def fill(self, items: Sequence[Mapping[str, Any]]) -> list[dict[str, Suggestion]]:
        """The values of each item, by its texts alone.

        Args:
            items: Items, each a mapping from column to cell.

        Returns:
            For each item the value of each attribute; the name of a suggestion is the bare value.
        """
        return self.model.predict_items(items)


def _way(decode: str) -> Decode:
    ways = [Decode.row.value, Decode.each.value]
    if decode not in ways:
        raise ConfigError(f"decode = {decode!r}: choose one of {', '.join(ways)}")
    return Decode(decode)


def complete_scores(
    model: XrtModel,
    texts: Sequence[str],
    scores_NL: sp.csr_array,
    space: AttributeSpace,
    num_threads: int | None = None,
) -> sp.csr_array:
    """The scores, and for rows in which an attribute has none, those of a search among its values
    alone.

    Args:
        model: The model of the labels.
        texts: The texts of the N rows.
        scores_NL: The scores that the model gave them, sparse (N, L).
        space: The attributes and labels.
        num_threads: Threads of the search; None: all processors.

    Returns:
        The scores, sparse (N, L).
    """
    num_rows = scores_NL.shape[0]
    rows = np.repeat(np.arange(num_rows), np.diff(scores_NL.indptr))
    has_NA = np.zeros((num_rows, len(space.attributes) + 1), bool)
    has_NA[rows, space.attribute_of_L[scores_NL.indices]] = True  # -1 is the last column
    for a, name in enumerate(space.attributes):
        without = np.flatnonzero(~has_NA[:, a])
        if not len(without):
            continue
        columns = space.columns_of(name)
        value_mask = sp.csr_array(
            (np.ones(len(columns), np.float32), columns, [0, len(columns)]),
            shape=(1, len(space.labels)),
        )
        best_scores = model.predict(
            [texts[int(row)] for row in without], 1, num_threads=num_threads,
            constraint=Constraint(value_mask, allows=True),
        )  # fmt: skip
        row_places = sp.csr_array(
            (np.ones(len(without), np.float32), (without, np.arange(len(without)))),
            shape=(num_rows, len(without)),
        )
        scores_NL = as_csr(scores_NL + row_places @ best_scores, "scores")
    return scores_NL


def is_attribute_model(folder: str | Path) -> bool:
    """Whether a saved model knows how attributes go together.

    Args:
        folder: The folder of the model.

    Returns:
        True where the settings of attributes are there.
    """
    return (Path(folder) / SETTINGS).is_file()


def save_parts(folder: Path, item_texts: ItemTexts, decoder: AttributeDecoder) -> None:
    """Write what an attribute model has beside the model of its labels.

    Args:
        folder: The folder of the model.
        item_texts: How the texts of items are made.
        decoder: How the values of a row go together.
    """
    settings = {"item_texts": item_texts.to_dict(), **decoder.save(folder / ARRAYS)}
    write_json(folder / SETTINGS, settings)


def load_parts(folder: Path, model: XrtModel) -> tuple[ItemTexts, AttributeDecoder]:
    """Read what `save_parts` wrote. Raises ArtifactError when there is nothing, or damage.

    Args:
        folder: The folder of the model.
        model: The model of its labels.

    Returns:
        How the texts of items are made, and the decoder.
    """
    if not is_attribute_model(folder):
        raise ArtifactError(
            f"{folder}: a model of labels, not of attributes; use Predictor, or train one with "
            "xrt train experiment=attributes data.path=FILE"
        )
    settings = SavedValues.read(folder / SETTINGS)
    attributes, hierarchy = settings.texts("attributes"), settings.texts("hierarchy")
    try:
        item_texts = ItemTexts.from_dict(settings.part("item_texts").content)
        space = AttributeSpace(attributes, hierarchy, model.labels)
    except DataError as err:
        raise ArtifactError(f"{settings.where}: unusable ({err}); train it anew") from err
    return item_texts, AttributeDecoder.load(folder / ARRAYS, settings.content, space)
