"""What the model thread is asked to do. Tasks of one group are done together."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np

from xrt.applications.application import RowFiller
from xrt.predict import Suggestion
from xrt.serve.models import ServedModel


class Task(Protocol):
    """Work for a model. `group`: tasks whose groups are equal may be done in one call; `size`:
    texts.
    """

    @property
    def group(self) -> Hashable:
        """Equal for tasks that may be done together."""

    @property
    def size(self) -> int:
        """Number of texts."""

    @classmethod
    def run(cls, tasks: Sequence[Self]) -> list[Any]:
        """Do tasks of one group.

        Args:
            tasks: The tasks, at least one.

        Returns:
            The result of each.
        """


@dataclass(frozen=True, eq=False)
class Prediction:
    """The result of `PredictTask`: suggestions of each text, and explanations where asked for."""

    suggestions: list[list[Suggestion]]
    explanations: list[dict[str, Any]] | None = None


@dataclass(frozen=True, eq=False)
class PredictTask:
    """The best labels of texts. Options are as in `Predictor.predict`; `min_score` is a number."""

    model: ServedModel
    texts: Sequence[str]
    k: int = 5
    min_score: float = 0.0
    allowed: tuple[str, ...] | None = None
    forbidden: tuple[str, ...] | None = None
    tail: float = 0.0
    explain: bool = False

    @property
    def group(self) -> Hashable:
        """The model and the options, but for `min_score`, which is applied afterwards."""
        return (
            PredictTask, id(self.model), self.k, self.allowed, self.forbidden, self.tail,
        )  # fmt: skip

    @property
    def size(self) -> int:
        """Number of texts."""
        return len(self.texts)

    @classmethod
    def run(cls, tasks: Sequence[Self]) -> list[Prediction]:
        """Predict the texts of all tasks at once.

        Args:
            tasks: The tasks.

        Returns:
            The suggestions of each.
        """
        first = tasks[0]
        texts = [text for task in tasks for text in task.texts]
        rows = iter(
            first.model.predictor.predict(
                texts, first.k,
                allowed=first.allowed, forbidden=first.forbidden, tail=first.tail,
            )
        )  # fmt: skip
        return [task._result([next(rows) for _ in task.texts]) for task in tasks]

    def _result(self, rows: list[list[Suggestion]]) -> Prediction:
        least = _as_score(self.min_score)
        kept = [[one for one in row if one.score >= least] for row in rows]
        if not self.explain:
            return Prediction(kept)
        explain = self.model.predictor.explain
        return Prediction(kept, [explain(text, self.k).to_dict() for text in self.texts])


def _as_score(min_score: float) -> float:
    """The number as scores are compared with it: rounded to 32 bits, as they are."""
    return float(np.float32(min(max(min_score, -1.0), 2.0)))


@dataclass(frozen=True, eq=False)
class ScoreTask:
    """Scores of given labels."""

    model: ServedModel
    texts: Sequence[str]
    labels: tuple[str, ...]

    @property
    def group(self) -> Hashable:
        """The model and the labels."""
        return ScoreTask, id(self.model), self.labels

    @property
    def size(self) -> int:
        """Number of texts."""
        return len(self.texts)

    @classmethod
    def run(cls, tasks: Sequence[Self]) -> list[list[list[float]]]:
        """Score the texts of all tasks at once.

        Args:
            tasks: The tasks.

        Returns:
            For each task and text the score of each label.
        """
        texts = [text for task in tasks for text in task.texts]
        rows = iter(tasks[0].model.predictor.score(texts, tasks[0].labels).tolist())
        return [[next(rows) for _ in task.texts] for task in tasks]


@dataclass(frozen=True, eq=False)
class ExplainTask:
    """Why a text gets its labels, or what the model makes of given ones."""

    model: ServedModel
    text: str
    k: int = 5
    labels: tuple[str, ...] | None = None

    @property
    def group(self) -> Hashable:
        """Itself: texts are explained one by one."""
        return ExplainTask, id(self)

    @property
    def size(self) -> int:
        """One text."""
        return 1

    @classmethod
    def run(cls, tasks: Sequence[Self]) -> list[dict[str, Any]]:
        """Explain each text.

        Args:
            tasks: The tasks.

        Returns:
            For each the explanation as plain values.
        """
        return [
            task.model.predictor.explain(task.text, task.k, labels=task.labels).to_dict()
            for task in tasks
        ]


@dataclass(frozen=True, eq=False)
class FillTask:
    """The attributes of items."""

    model: ServedModel
    filler: RowFiller
    items: Sequence[Mapping[str, Any]]

    @property
    def group(self) -> Hashable:
        """The model."""
        return FillTask, id(self.model)

    @property
    def size(self) -> int:
        """Number of items."""
        return len(self.items)

    @classmethod
    def run(cls, tasks: Sequence[Self]) -> list[list[dict[str, Suggestion]]]:
        """Fill the items of all tasks at once.

        Args:
            tasks: The tasks.

        Returns:
            For each task and item the value of each attribute.
        """
        items = [item for task in tasks for item in task.items]
        rows = iter(tasks[0].filler.fill(items))
        return [[next(rows) for _ in task.items] for task in tasks]
