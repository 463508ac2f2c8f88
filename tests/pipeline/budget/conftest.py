"""Commands in the tests of budgets leave nothing behind."""

import logging
from collections.abc import Iterator

import pytest
from hydra.core.global_hydra import GlobalHydra


@pytest.fixture(autouse=True)
def hydra_as_new() -> Iterator[None]:
    """Hydra as new, and the logging that it sets up undone."""
    GlobalHydra.instance().clear()
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    for handler in set(logging.root.handlers) - set(handlers):
        handler.close()
    logging.root.handlers, logging.root.level = handlers, level
