"""What the server counts, for Prometheus.

With several workers each writes its numbers into files of the folder `PROMETHEUS_MULTIPROC_DIR`,
and whoever is asked adds up those of all. That variable must be set before this module is imported.
"""

import os
from collections.abc import Iterable, Sequence

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

from xrt.serve.metrics_folder import FOLDER_VARIABLE

MEDIA_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_SCORES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1)


class Metrics:
    """The counters of one server process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.requests = Counter(
            "xrt_requests", "Requests by method, route and status.",
            ("method", "route", "status"), registry=registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "xrt_request_seconds", "Seconds from the head of a request to its answer.",
            ("route",), buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.refusals = Counter(
            "xrt_refusals", "Requests that were refused before a model saw them, by reason.",
            ("reason",), registry=registry,
        )  # fmt: skip
        self.queue_depth = Gauge(
            "xrt_queue_depth", "Requests that wait.", multiprocess_mode="livesum", registry=registry
        )
        self.batch_texts = Histogram(
            "xrt_batch_texts",
            "Texts that were computed together.",
            buckets=_TEXTS,
            registry=registry,
        )
        self.queue_seconds = Histogram(
            "xrt_queue_seconds", "Seconds in the queue.", buckets=_SECONDS, registry=registry
        )
        self.model_seconds = Histogram(
            "xrt_model_seconds",
            "Seconds in the model, of a batch.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.texts = Counter(
            "xrt_texts", "Texts that were answered.", ("model",), registry=registry
        )
        self.texts_without_label = Counter(
            "xrt_texts_without_label", "Texts without a label above the threshold.",
            ("model",), registry=registry,
        )  # fmt: skip
        self.top_score = Histogram(
            "xrt_top_score", "The best score of a text: a change of its mean is drift.",
            ("model",), buckets=_SCORES, registry=registry,
        )  # fmt: skip
        self.model_info = Gauge(
            "xrt_model_info", "1 for the version that is served, 0 for earlier ones.",
            ("model", "version"), multiprocess_mode="livemax", registry=registry,
        )  # fmt: skip

    def count_texts(self, model: str, top_scores: Iterable[float | None]) -> None:
        """Count texts that were answered.

        Args:
            model: The name of the model.
            top_scores: The best score of each text, None where no label was suggested.
        """
        num_texts = num_without = 0
        of_model = self.top_score.labels(model)
        for score in top_scores:
            num_texts += 1
            if score is None:
                num_without += 1
            else:
                of_model.observe(score)
        self.texts.labels(model).inc(num_texts)
        self.texts_without_label.labels(model).inc(num_without)

    def name_version(self, model: str, version: str, before: Sequence[str] = ()) -> None:
        """Tell which version of a model is served.

        Args:
            model: Its name.
            version: Its digest.
            before: Digests that were served before.
        """
        for old in before:
            self.model_info.labels(model, old).set(0)
        self.model_info.labels(model, version).set(1)

    def render(self) -> bytes:
        """All numbers as Prometheus reads them, of all workers where there are several.

        Returns:
            Text of the type `MEDIA_TYPE`.
        """
        if os.environ.get(FOLDER_VARIABLE):
            of_all = CollectorRegistry()
            multiprocess.MultiProcessCollector(of_all)  # type: ignore[no-untyped-call]
            return generate_latest(of_all)
        return generate_latest(self.registry)
