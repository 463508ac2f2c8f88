"""`XRTransformer`: the whole pipeline as an estimator."""

import inspect
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xrt.data.corpus import Corpus
from xrt.errors import ConfigError, DataError
from xrt.estimators.base import NOT_SAVED, XrtEstimator
from xrt.model import XrtModel
from xrt.progress import Progress
from xrt.search.beam import SearchParams
from xrt.storage.reading import read_json_bounded
from xrt.storage.stages import FolderCache

if TYPE_CHECKING:
    from xrt.pipeline import PipelineParams
    from xrt.pipeline.budget.report import BudgetReport
    from xrt.pipeline.verdict import Verdict


class XRTransformer(XrtEstimator):
    """The XR-Transformer: the linear model, and an encoder fine-tuned on the label tree.

    Where that is not better on held-out rows `model_` is the linear model, unless `always_deep`.
    """

    _kind = "transformer"
    verdict_: "Verdict"
    """Both models on the held-out rows, and which of them `model_` is; missing where a budget was
    too small for an encoder."""
    budget_: "BudgetReport"
    """What a budget was spent on; missing without one."""

    def __init__(
        self,
        *,
        encoder: str = "minilm",
        max_length: int = 128,
        num_epochs: float = 3.0,
        token_budget: int = 4096,
        beam_size: int = 10,
        validation_rows: int = 2_000,
        always_deep: bool = False,
        budget: str | None = None,
        choose: Sequence[str] | None = None,
        run_folder: str | None = None,
        seed: int = 0,
        num_threads: int | None = None,
        progress: Progress | None = None,
        params: "PipelineParams | None" = None,
        callbacks: Sequence[Any] = (),
        logger: Any = None,
    ) -> None:
        """Settings as in PipelineParams, EncoderParams, MatcherParams and SearchParams; checked by
        `fit`. `params` has all of them at once.

        Args:
            encoder: `minilm`, a folder, or a name on the Hugging Face hub.
            max_length: tokens of a text that are read, special tokens included; at least 3.
            num_epochs: passes over the training rows; above 0.
            token_budget: tokens of a step, padding included; at least 1.
            beam_size: nodes kept at each inner level of a tree; at least 1.
            validation_rows: rows held out to choose fusion weights and to judge the encoder; never
                more than a tenth.
            always_deep: keep the deep model even where it is not better than the linear one.
            budget: time that `fit` may take, such as "30m": the linear model comes first, and what
                is left decides tokens, layers, passes and trees; `max_length` and `num_epochs` are
                kept where they are not the defaults. None sets no limit.
            choose: parts of the linear model, and of the rankers on embeddings, that `fit` chooses
                on held-out training rows, of ASPECTS; None for AUTO_ASPECTS, () for none. What was
                chosen and all that was tried is `choices_`.
            run_folder: keeps the stages: a fit that was stopped goes on when it is called again.
                None: nothing is kept.
            seed: of all random choices; at least 0.
            num_threads: threads of everything but the encoder; None for all processors.
            progress: told of the work done; None for nothing.
            params: all settings of `xrt train` as a PipelineParams, with an encoder; then the
                arguments above, `run_folder` and `progress` aside, stay at their defaults.
            callbacks: callbacks of Lightning's that take part in the fine-tuning. With other
                classes of them the encoder is fine-tuned anew.
            logger: a logger of Lightning's, or a list of them, which gets losses, learning rates
                and nDCG@5 and P@1 of each level.
        """
        self.encoder = encoder
        self.max_length = max_length
        self.num_epochs = num_epochs
        self.token_budget = token_budget
        self.beam_size = beam_size
        self.validation_rows = validation_rows
        self.always_deep = always_deep
        self.budget = budget
        self.choose = choose
        self.run_folder = run_folder
        self.seed = seed
        self.num_threads = num_threads
        self.progress = progress
        self.params = params
        self.callbacks = callbacks
        self.logger = logger

    def _train(self, corpus: Corpus, dense_NH: np.ndarray | None) -> XrtModel:
        if dense_NH is not None:
            raise DataError("XRTransformer reads texts, not rows of features; pass a list of texts")
        from xrt.encoder.trainer_arguments import as_list
        from xrt.pipeline.trainer import Trainer

        params = self._own_params() if self.params is None else self._given_params(self.params)
        cache = None if self.run_folder is None else FolderCache(Path(self.run_folder))
        fitted = Trainer(
            params, cache, self.progress,
            callbacks=as_list(self.callbacks), loggers=as_list(self.logger),
        ).fit(corpus)  # fmt: skip
        self.__dict__.pop("verdict_", None)  # of an earlier fit
        if fitted.verdict is not None:
            self.verdict_ = fitted.verdict
        if fitted.budget is not None:
            self.budget_ = fitted.budget
        self._keep_choices(fitted.choices)
        return fitted.model

    def _given_params(self, params: "PipelineParams") -> "PipelineParams":
        """All settings at once. Raises ConfigError where some are given beside."""
        defaults = inspect.signature(type(self)).parameters
        beside = [
            name
            for name, value in self.get_params(deep=False).items()
            if name not in (*NOT_SAVED, "num_threads") and value != defaults[name].default
        ]
        if beside:
            raise ConfigError(
                f"{', '.join(beside)}: params has all settings; set them there, or leave params out"
            )
        if params.encoder is None:
            raise ConfigError(
                "params.encoder is None: give EncoderParams, or train a linear model with XRLinear"
            )
        if self.num_threads is None:
            return params
        return replace(params, num_threads=self.num_threads)

    def _own_params(self) -> "PipelineParams":
        """The settings that the other arguments make."""
        from xrt.encoder.params import EncoderParams, MatcherParams
        from xrt.pipeline import PipelineParams
        from xrt.pipeline.choosing.aspects import open_aspects
        from xrt.pipeline.params import AUTO_ASPECTS

        return PipelineParams(
            encoder=EncoderParams(name=self.encoder, max_length=self.max_length),
            matcher=MatcherParams(num_epochs=self.num_epochs, token_budget=self.token_budget),
            search=SearchParams(beam_size=self.beam_size),
            validation_rows=self.validation_rows,
            always_deep=self.always_deep,
            budget=self.budget,
            choose=AUTO_ASPECTS if self.choose is None else open_aspects(self.choose, ()),
            seed=self.seed,
            num_threads=self.num_threads or 0,
        )

    def _keep_verdict(self, path: Path) -> None:
        from xrt.pipeline.verdict import Verdict

        self.verdict_ = Verdict.from_dict(read_json_bounded(path))
