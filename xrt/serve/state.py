"""What a server process knows: its models, whether it is ready, and how a request is computed."""

import asyncio
import contextlib
import threading
from collections.abc import Mapping
from enum import Enum
from typing import Any, Protocol

from starlette.requests import Request

from xrt.data.labels import LabelTable
from xrt.serve.metrics import Metrics
from xrt.serve.model_thread import Job, ModelThread, deadline_passed
from xrt.serve.models import ServedModel, load_model
from xrt.serve.options import ServeOptions
from xrt.serve.problems import Problem
from xrt.serve.tasks import Task

CLIENT_HAS_GONE = 499
"""The status that stands in logs and counters where nobody was left to answer."""


class Phase(str, Enum):
    """What a server process is doing."""

    loading = "loading"
    ready = "ready"
    draining = "draining"


class Reloader(Protocol):
    """Replaces models by what their folders hold now, in all workers or in none."""

    async def reload(self, name: str | None) -> dict[str, str]:
        """Load models anew.

        Args:
            name: The model; None: all of them.

        Returns:
            The version of each model by its name.

        Raises:
            Problem: 409: a model cannot be opened, or another reload is under way; nothing changed.
        """


class ServerState:
    """The state of one server process. `options`: what `xrt serve` was told."""

    def __init__(self, options: ServeOptions, metrics: Metrics) -> None:
        """Make a state without models.

        Args:
            options: What the server was told.
            metrics: Its counters.
        """
        self.options, self.metrics = options, metrics
        self.thread = ModelThread(options.queue_length, metrics)
        self.phase = Phase.loading
        self.reloader: Reloader | None = None
        self._models: Mapping[str, ServedModel] = {}
        self._versions: dict[str, list[str]] = {}
        self._swap = threading.Lock()

    @property
    def models(self) -> Mapping[str, ServedModel]:
        """The models by name, in the order of the command line.

        Raises:
            Problem: 503: they are being loaded.
        """
        if not self._models:
            raise Problem.busy(503, "the models are being loaded; try again")
        return self._models

    def model(self, name: str) -> ServedModel:
        """A model by its name.

        Args:
            name: The name.

        Returns:
            The version that is served at the moment.

        Raises:
            Problem: 404: there is none of that name; 503: models are being loaded.
        """
        model = self.models.get(name)
        if model is None:
            known = ", ".join(self.models)
            raise Problem(404, f"no model named {name[:64]!a}; there are: {known}")
        return model

    def labels_of(self, name: str) -> LabelTable:
        """The labels of a model.

        Args:
            name: Its name.

        Returns:
            The labels.
        """
        return self.model(name).labels

    def prepare(self, names: list[str] | None = None) -> dict[str, ServedModel]:
        """Load models and try them, beside those that are served; from any thread but the event
        loop's and the model thread.

        Args:
            names: Their names; None: all.

        Returns:
            The models by name.

        Raises:
            XrtError: One of them cannot be opened.
        """
        options = self.options
        prepared = {}
        for name in options.folders if names is None else names:
            model = load_model(name, options.folders[name], options.threads, options.compute)
            self.thread.call(model.warm_up)
            prepared[name] = model
        return prepared

    def commit(self, prepared: Mapping[str, ServedModel]) -> dict[str, str]:
        """Serve these models from now on.

        Args:
            prepared: What `prepare` gave.

        Returns:
            The version of each of them by name.
        """
        with self._swap:
            for name, model in prepared.items():
                before = self._versions.setdefault(name, [])
                others = [version for version in before if version != model.version]
                self.metrics.name_version(name, model.version, others)
                if model.version not in before:
                    before.append(model.version)
            merged = {**self._models, **prepared}
            self._models = {name: merged[name] for name in self.options.folders if name in merged}
        return {name: model.version for name, model in prepared.items()}

    def fault(self) -> str:
        """Why the server should get no requests at the moment.

        Returns:
            One line; '' where it is ready.
        """
        if self.phase is Phase.loading:
            return "the models are being loaded"
        if self.phase is Phase.draining:
            return "the server is being stopped"
        if self.thread.busy_seconds > self.options.deadline:
            return "the model has not answered within the deadline"
        return ""

    async def compute(self, request: Request, task: Task) -> Job:
        """Have a task done by the model thread.

        Args:
            request: The request; its body has been read.
            task: The task.

        Returns:
            The job, whose future is done.

        Raises:
            Problem: 429, 503, 504, or 499 where the client has gone.
            XrtError: What the task raised.
        """
        deadline = deadline_of(request)
        job = self.thread.submit(task, deadline)
        gone = asyncio.ensure_future(_until_client_goes(request))
        try:
            seconds = max(deadline - asyncio.get_running_loop().time(), 0.0)
            await asyncio.wait(
                {job.future, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if job.future.done():
                job.future.result()
                return job
            if gone.done():
                raise Problem(CLIENT_HAS_GONE, "the client has gone")
            raise deadline_passed()
        finally:
            job.abandoned = True
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await gone


async def _until_client_goes(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def server_of(request: Request) -> ServerState:
    """The state of the server that got a request.

    Args:
        request: The request.

    Returns:
        The state.
    """
    state = request.app.state.server
    assert isinstance(state, ServerState)
    return state


def deadline_of(request: Request) -> float:
    """When nobody waits for the answer to a request any more.

    Args:
        request: The request.

    Returns:
        Seconds of `time.monotonic`, which is the clock of the event loop, too.
    """
    deadline: float = request.scope["xrt.deadline"]
    return deadline


def note(request: Request, **values: Any) -> None:
    """Leave something for the line of the log.

    Args:
        request: The request.
        **values: Names and values.
    """
    request.scope["xrt.notes"].update(values)
