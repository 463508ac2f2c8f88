"""Where parts of xrt take part in a fit without importing Lightning: `xrt.encoder.fit` passes each
event on to them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import lightning.pytorch as pl


class FitHook:
    """Does nothing at any event; subclasses override those they need.

    Events have the names and arguments of Lightning's callbacks.
    """

    def setup(self, trainer: "pl.Trainer", pl_module: "pl.LightningModule", stage: str) -> None:
        """In each process, before anything else.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
            stage: Lightning's word for what is run.
        """

    def on_fit_start(self, trainer: "pl.Trainer", pl_module: "pl.LightningModule") -> None:
        """Processes know their ranks.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
        """

    def on_train_start(self, trainer: "pl.Trainer", pl_module: "pl.LightningModule") -> None:
        """A checkpoint has been read, where there is one; the first step comes next.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
        """

    def on_train_batch_end(
        self, trainer: "pl.Trainer", pl_module: "pl.LightningModule", outputs: Any, *_: Any
    ) -> None:
        """A step is done.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
            outputs: what the step returned.
        """

    def on_save_checkpoint(
        self,
        trainer: "pl.Trainer",
        pl_module: "pl.LightningModule",
        checkpoint: dict[str, Any],
    ) -> None:
        """Something may be added to a checkpoint.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
            checkpoint: content of the checkpoint.
        """

    def on_load_checkpoint(
        self,
        trainer: "pl.Trainer",
        pl_module: "pl.LightningModule",
        checkpoint: dict[str, Any],
    ) -> None:
        """Something may be taken from a checkpoint.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
            checkpoint: content of the checkpoint.
        """

    def on_exception(
        self,
        trainer: "pl.Trainer",
        pl_module: "pl.LightningModule",
        exception: BaseException,
    ) -> None:
        """The fit failed or was interrupted.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
            exception: what was raised.
        """

    def teardown(self, trainer: "pl.Trainer", pl_module: "pl.LightningModule", stage: str) -> None:
        """The fit is over; not called after an exception.

        Args:
            trainer: Lightning's trainer.
            pl_module: the matcher that is trained.
            stage: Lightning's word for what is run.
        """
