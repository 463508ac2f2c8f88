"""Routes for people who review labels: type-ahead, decisions, the queue of an audit."""

import hashlib
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field, model_validator

from xrt.data.labels import LabelTable
from xrt.errors import DataError
from xrt.serve.bodies import require_json
from xrt.serve.decisions import DecisionFile
from xrt.serve.label_search import MAX_LABELS, MAX_QUERY, LabelSearch
from xrt.serve.problems import Problem, problems
from xrt.serve.review_queue import MAX_ROWS, ReviewQueue
from xrt.serve.schemas import Body, Text

MAX_DECISIONS = 1000
"""Decisions of one request, at most."""
_LONGEST_ID = 4096
_MOST_ROWS = 1 << 53
_RETRY_SECONDS = 30
_T = TypeVar("_T")


class LabelEntry(BaseModel):
    """A label; its name is '' where none is known."""

    label: str = Field(examples=["4037944-9"])
    name: str = Field(examples=["Mathematics"])


class LabelMatches(BaseModel):
    """Labels that a query names, best first, and whether there are more."""

    labels: list[LabelEntry]
    more: bool


class DecisionRow(Body):
    """What somebody decided about one label.

    About a suggestion of an audit it has the suggestion's `id`. Without `id` it is about a text
    that was typed, and has `text` and `label`.
    """

    id: Annotated[Text, Field(min_length=1, max_length=_LONGEST_ID)] | None = Field(
        None, examples=["add:12:4037944-9"]
    )
    accepted: bool = Field(strict=True, examples=[True])
    kind: Literal["add", "remove"] | None = None
    corpus: Annotated[Text, Field(max_length=64)] | None = None
    row: Annotated[int, Field(ge=0, lt=_MOST_ROWS, strict=True)] | None = None
    uid: Annotated[Text, Field(max_length=_LONGEST_ID)] | None = None
    text: Text | None = None
    label: Annotated[Text, Field(min_length=1, max_length=_LONGEST_ID)] | None = Field(
        None, examples=["4037944-9"]
    )
    name: Annotated[Text, Field(max_length=_LONGEST_ID)] | None = None
    score: Annotated[float, Field(ge=0, le=1)] | None = None

    @model_validator(mode="after")
    def _says_about_what(self) -> "DecisionRow":
        if self.id is None and (self.text is None or self.label is None):
            raise ValueError("give id, or text and label")
        return self

    def to_row(self, model: str, now: datetime) -> dict[str, Any]:
        """The row as it is kept.

        Args:
            model: The name of the model that was asked.
            now: The time of the decision.

        Returns:
            What the file of decisions gets.
        """
        row = self.model_dump(exclude_none=True)
        if self.id is None:
            digest = hashlib.sha256((self.text or "").encode("utf-8", "replace")).hexdigest()
            row |= {"id": f"text:{digest[:16]}:{self.label}", "kind": "text"}
        time = now.isoformat(timespec="seconds")
        return {"id": row["id"], "accepted": row["accepted"], **row, "model": model, "time": time}


class DecisionBody(Body):
    """Decisions; all of them are kept, or none."""

    decisions: list[DecisionRow] = Field(min_length=1, max_length=MAX_DECISIONS)


class NumKept(BaseModel):
    """How many decisions were kept."""

    kept: int = Field(examples=[1])


class QueueRows(BaseModel):
    """Suggestions of an audit, in the order of its file.

    `total` and `decided` count the whole file; `next` is what to pass as `after` for more.
    """

    rows: list[dict[str, Any]]
    total: int
    decided: int
    next: int | None


class QueueCounts(BaseModel):
    """How many suggestions the queue has, and how many of them are decided."""

    total: int
    decided: int


class ReviewState(BaseModel):
    """Whether decisions are kept, and the queue, where there is one."""

    decisions: bool
    queue: QueueCounts | None


def make_review_router(
    labels_of: Callable[[str], LabelTable],
    decisions: DecisionFile | None,
    queue: ReviewQueue | None,
) -> APIRouter:
    """The routes for reviewing. Their handlers run in threads, for they read and write files.

    Args:
        labels_of: Gives the labels of a model by its name, anew in each request; raises Problem
            where there is no such model.
        decisions: Where decisions are kept; None where they are not.
        queue: What is reviewed; None for no queue.

    Returns:
        The router.
    """
    router = APIRouter(prefix="/v1", tags=["review"])
    searches = _Searches()

    @router.get("/review", responses=problems(401, 503))
    def review() -> ReviewState:
        """Whether decisions are kept, and how far the queue is."""
        if queue is None:
            return ReviewState(decisions=decisions is not None, queue=None)
        total, decided = _from_files(queue.counts)
        counts = QueueCounts(total=total, decided=decided)
        return ReviewState(decisions=decisions is not None, queue=counts)

    @router.get("/models/{name}/labels", responses=problems(401, 404, 422, 503))
    def labels(
        name: str,
        q: Annotated[str, Query(max_length=MAX_QUERY, examples=["math"])] = "",
        limit: Annotated[int, Query(ge=1, le=MAX_LABELS)] = 20,
    ) -> LabelMatches:
        """Labels whose name or id has `q` in it: those that begin with it first, then words."""
        matches, more = searches.of(name, labels_of(name)).find(q, limit)
        entries = [LabelEntry(label=match.label, name=match.name) for match in matches]
        return LabelMatches(labels=entries, more=more)

    @router.post(
        "/models/{name}/decisions",
        dependencies=[Depends(require_json)],
        responses=problems(400, 401, 404, 413, 415, 422, 503, 507),
    )
    def decide(name: str, body: DecisionBody) -> NumKept:
        """Keep decisions in the server's file, which `xrt audit --decisions` reads."""
        labels_of(name)
        if decisions is None:
            raise Problem(
                404, "decisions are not kept here: start the server with --decisions FILE"
            )
        now = datetime.now(UTC)
        rows = [row.to_row(name, now) for row in body.decisions]
        _from_files(lambda: decisions.append(rows))
        return NumKept(kept=len(rows))

    @router.get("/models/{name}/queue", responses=problems(401, 404, 422, 503))
    def queue_page(
        name: str,
        after: Annotated[int, Query(ge=0, lt=_MOST_ROWS)] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 50,
        before: Annotated[int | None, Query(ge=0, lt=_MOST_ROWS)] = None,
        undecided: bool = False,
        kind: Literal["add", "remove"] | None = None,
    ) -> QueueRows:
        """A page of the suggestions that the server was started with, and what was decided."""
        labels_of(name)
        if queue is None:
            raise Problem(
                404, "there is no queue: start the server with --queue audit/suggestions.jsonl"
            )
        page = _from_files(
            lambda: queue.page(after, limit, before=before, undecided=undecided, kind=kind)
        )
        return QueueRows(rows=page.rows, total=page.total, decided=page.decided, next=page.next)

    return router


class _Searches:
    """The type-ahead of each model; that of a model that was loaded anew is made anew."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_name: dict[str, LabelSearch] = {}

    def of(self, name: str, labels: LabelTable) -> LabelSearch:
        with self._lock:
            search = self._by_name.get(name)
            if search is None or search.labels is not labels:
                search = self._by_name[name] = LabelSearch(labels)
            return search


def _from_files(work: Callable[[], _T]) -> _T:
    """Do what only the server's own files can make fail: that is no fault of the request."""
    try:
        return work()
    except DataError as error:
        raise Problem.busy(503, error.message, _RETRY_SECONDS) from error
    except OSError as error:
        raise Problem.busy(503, f"{error.filename}: {error.strerror}", _RETRY_SECONDS) from error
