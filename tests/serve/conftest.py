"""A tiny model, and a server in this process that all tests of a file may ask."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.serve.serving import client_of, save_model


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear model of 24 labels."""
    return save_model(tmp_path_factory.mktemp("served") / "small")


@pytest.fixture(scope="session")
def client(model_folder: Path) -> Iterator[TestClient]:
    """A client of a server that may be told to reload."""
    with client_of(model_folder, allow_reload=True) as client:
        yield client
