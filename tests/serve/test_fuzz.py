"""Ten thousand bodies, mostly bad ones: never 500, always a problem or an answer of its shape."""

import json
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.serve.serving import PREDICT, serving

NUM_BODIES = 10_000
GOOD: dict[str, dict[str, Any]] = {
    PREDICT: {
        "texts": ["kati lore"],
        "k": 3,
        "min_score": 0.1,
        "allowed": ["KATI", "LORE"],
        "forbidden": ["MISO"],
        "tail": 0.5,
        "explain": True,
    },
    "/v1/models/small/score": {"texts": ["kati"], "labels": ["KATI"]},
    "/v1/models/small/explain": {"text": "kati", "k": 2, "labels": ["KATI"]},
    "/v1/models/small/fill": {"items": [{"title": "kati", "price": 1.5, "brand": None}]},
    "/v1/projects/small/suggest-batch?limit=3": {
        "documents": [{"text": "kati", "document_id": "1", "metadata": {"a": [1]}}]
    },
    "/-/reload": {"name": "nix"},
}
"""A body that each route takes, or refuses only for what it names."""
ODD: list[Any] = [
    None, True, False, 0, -1, 1, 10**18, 10**400, -(2**63), 0.5, -0.0, 1e308, float("nan"),
    float("inf"), "", "a", "\ud800", "\udc00\ud800", "\x00", "\u202e", "𝕏" * 50, "x" * 5000,
    "micro-F1", "KATI", [], ["KATI"], [[]], [None], ["\ud83d"], {}, {"a": 1}, {"\ud800": 1},
    {"": {"": {"": []}}}, [0] * 300, ["a"] * 300,
]  # fmt: skip
BYTES = [b"\xff", b"\x00", b"[" * 2000, b"9" * 5000, b'"']
STATUSES = {200, 400, 404, 409, 413, 415, 422}


def mutated(value: Any, rng: random.Random) -> Any:
    """The value with one part of it replaced, left out, doubled or renamed."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        changed = dict(value)
        turn = rng.random()
        if turn < 0.15:
            del changed[key]
        elif turn < 0.25:
            changed[rng.choice(["", "\ud800", key.upper(), "x" * 300])] = rng.choice(ODD)
        else:
            changed[key] = mutated(value[key], rng)
        return changed
    if isinstance(value, list) and value and rng.random() < 0.5:
        place = rng.randrange(len(value))
        return [*value[:place], mutated(value[place], rng), *value[place + 1 :]]
    return rng.choice(ODD)


def bodies() -> Iterator[tuple[str, bytes]]:
    """Routes and bodies: mutated JSON, and bytes of it cut, flipped and put in."""
    rng = random.Random(21)
    for _ in range(NUM_BODIES):
        path = rng.choice(list(GOOD))
        value: Any = GOOD[path]
        for _ in range(rng.choice([0, 1, 1, 1, 2, 4])):
            value = mutated(value, rng)
        data = bytearray(json.dumps(value).encode())
        if rng.random() < 0.4:
            for _ in range(rng.randrange(1, 4)):
                place = rng.randrange(len(data) + 1)
                turn = rng.random()
                if turn < 0.4:
                    data[place:place] = rng.choice(
                        [b"\xff", b"\x00", b"[" * 2000, b"9" * 5000, b'"']
                    )
                elif turn < 0.7:
                    del data[place:]
                elif place < len(data):
                    data[place] ^= 1 << rng.randrange(8)
        yield path, bytes(data)


@pytest.mark.slow
def test_no_body_is_a_fault_of_the_server(client: TestClient):
    counts: dict[int, int] = {}
    headers = {"Content-Type": "application/json"}
    for path, body in bodies():
        answer = client.post(path, content=body, headers=headers)
        counts[answer.status_code] = counts.get(answer.status_code, 0) + 1
        assert answer.status_code in STATUSES, (path, body[:500], answer.text)
        if answer.status_code != 200:
            assert answer.headers["content-type"] == "application/problem+json"
            assert set(answer.json()) == {"type", "title", "status", "detail"}
            assert len(answer.content) < 1000
        else:
            json.loads(answer.content.decode("utf-8"))
    assert sum(counts.values()) == NUM_BODIES
    assert min(counts[200], counts[400], counts[422]) > NUM_BODIES // 50, counts


SCHEMATHESIS = """\
[parameters]
"path.name" = "small"

# ids of labels, columns of a model: what no schema can tell is refused by 422
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "422", "429", "503", "504"]
"""


@pytest.mark.slow
def test_schemathesis_finds_nothing(model_folder: Path, tmp_path: Path):
    """Needs `schemathesis` (pip install schemathesis), named by XRT_TEST_SCHEMATHESIS."""
    command = os.environ.get("XRT_TEST_SCHEMATHESIS", "")
    assert command, "set XRT_TEST_SCHEMATHESIS to the command of schemathesis"
    (tmp_path / "schemathesis.toml").write_text(SCHEMATHESIS)
    words = [str(model_folder), "--allow-reload", "--decisions", str(tmp_path / "decisions")]
    with serving(words, tmp_path) as server:
        outcome = subprocess.run(
            [
                *command.split(), "run", f"{server.address}/openapi.json",
                "--checks", "all", "--max-examples", "100", "--seed", "21",
                "--no-color",
            ],
            capture_output=True, text=True, cwd=tmp_path,
        )  # fmt: skip
        assert outcome.returncode == 0, outcome.stdout[-8000:]
