"""Who is let in: keys, names of hosts, lengths of bodies, a full queue; and what is logged."""

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.serve.serving import PREDICT, client_of
from xrt.serve.layers import SECURITY_HEADERS
from xrt.serve.logs import JsonLines, PlainLines
from xrt.serve.state import Phase

KEY = "0123456789abcdef"
BODY = {"texts": ["kati lore"]}


@pytest.fixture(scope="module")
def guarded(model_folder: Path) -> Iterator[TestClient]:
    """A server with a key, a short limit of bodies and a queue of one."""
    with client_of(model_folder, key=KEY, max_body=1000, queue_length=1) as client:
        yield client


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logging.getLogger("xrt.serve"), "propagate", True)
    caplog.set_level(logging.INFO, "xrt.serve")
    return caplog


@pytest.mark.parametrize(
    "sent", ["", KEY, f"Bearer {KEY[:-1]}", f"Bearer {KEY}x", f"bearer {KEY}", "Bearer \xe9"]
)
def test_without_the_key_nobody_is_let_in(guarded: TestClient, sent: str):
    headers = {"Authorization": sent.encode("latin-1")} if sent else {}
    for path in ("/v1/models", "/metrics", "/openapi.json", "/nothing", "/v1/projects"):
        answer = guarded.get(path, headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    answer = guarded.post(PREDICT, json=BODY, headers=headers)
    assert answer.status_code == answer.json()["status"] == 401


def test_with_the_key_everybody_is(guarded: TestClient):
    headers = {"Authorization": f"Bearer {KEY}"}
    assert guarded.post(PREDICT, json=BODY, headers=headers).status_code == 200
    assert (
        guarded.get(
            "/v1/models",
            headers=headers,
        ).status_code
        == 200
    )
    scheme = guarded.get("/openapi.json", headers=headers).json()["components"]["securitySchemes"]
    assert scheme == {"key": {"type": "http", "scheme": "bearer"}}


def test_health_needs_no_key(guarded: TestClient):
    assert guarded.get("/health/live").status_code == 200
    assert guarded.get("/health/ready").status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("localhost:8000", 200), ("127.0.0.1:80", 200), ("[::1]:8000", 200),
        ("evil.example", 403), ("127.0.0.1.evil.example", 403), ("10.0.0.1", 403), ("[::2]", 403),
    ],
)  # fmt: skip
def test_without_a_key_only_names_of_this_machine_are_answered(
    client: TestClient, guarded: TestClient, host: str, status: int
):
    assert client.get("/v1/models", headers={"Host": host}).status_code == status
    headers = {"Host": host, "Authorization": f"Bearer {KEY}"}
    assert guarded.get("/v1/models", headers=headers).status_code == 200


def test_every_answer_has_security_headers_and_an_id(client: TestClient):
    for answer in (client.get("/v1/models"), client.get("/nothing"), client.post(PREDICT)):
        for name, value in SECURITY_HEADERS.items():
            assert answer.headers[name] == value
        assert answer.headers["X-Request-Id"]
        assert "access-control-allow-origin" not in answer.headers
    answer = client.get("/v1/models", headers={"X-Request-Id": "my-id.7"})
    assert answer.headers["X-Request-Id"] == "my-id.7"
    answer = client.get("/v1/models", headers={"X-Request-Id": "a b"})
    assert answer.headers["X-Request-Id"] != "a b"


def test_other_origins_are_told_only_where_asked(model_folder: Path):
    with client_of(model_folder, key=KEY, cors=("https://a.example",)) as client:
        asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
        answer = client.options(PREDICT, headers=asked)
        assert answer.headers["access-control-allow-origin"] == "https://a.example"
        answer = client.get("/v1/models", headers={"Origin": "https://a.example"})
        assert answer.status_code == 401
        assert answer.headers["access-control-allow-origin"] == "https://a.example"
        answer = client.get("/v1/models", headers={"Origin": "https://b.example"})
        assert "access-control-allow-origin" not in answer.headers


def chunks() -> Iterator[bytes]:
    yield b'{"texts": ["'
    for _ in range(20):
        yield b"a" * 100
    yield b'"]}'


@pytest.mark.parametrize("content", [b"x" * 1001, chunks], ids=["declared", "chunked"])
def test_long_bodies_are_refused(guarded: TestClient, content: Any):
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    content = content() if callable(content) else content
    answer = guarded.post(PREDICT, content=content, headers=headers)
    assert answer.status_code == answer.json()["status"] == 413
    assert "1,000 bytes" in answer.json()["detail"]


def test_a_body_of_the_limit_is_taken(guarded: TestClient):
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    text = "a" * (1000 - len(json.dumps({"texts": [""]})))
    content = json.dumps({"texts": [text]})
    assert len(content) == 1000
    assert guarded.post(PREDICT, content=content, headers=headers).status_code == 200


def test_a_full_queue_refuses_before_the_body_is_read(guarded: TestClient):
    state = guarded.app.state.server  # type: ignore[attr-defined]
    headers = {"Authorization": f"Bearer {KEY}"}
    gate, answers = threading.Event(), []
    holder = threading.Thread(target=state.thread.call, args=(lambda: gate.wait(30),))
    holder.start()
    try:
        asker = threading.Thread(
            target=lambda: answers.append(guarded.post(PREDICT, json=BODY, headers=headers))
        )
        asker.start()
        while not state.thread.is_full:
            pass
        answer = guarded.post(PREDICT, content=b"no JSON at all", headers=headers)
        assert answer.status_code == 429
        assert int(answer.headers["Retry-After"]) >= 1
        assert guarded.get("/health/live").status_code == 200
        metrics = guarded.get("/metrics", headers=headers).text
        assert "xrt_queue_depth 1.0" in metrics
        assert 'xrt_refusals_total{reason="queue"} 1.0' in metrics
    finally:
        gate.set()
        holder.join()
    asker.join()
    assert answers[0].status_code == 200


def test_what_takes_too_long_is_504_and_readiness_ends(model_folder: Path):
    with client_of(model_folder, deadline=0.2) as client:
        gate = threading.Event()
        call = client.app.state.server.thread.call  # type: ignore[attr-defined]
        holder = threading.Thread(target=call, args=(lambda: gate.wait(30),))
        holder.start()
        try:
            answer = client.post(PREDICT, json=BODY)
            assert answer.status_code == answer.json()["status"] == 504
            answer = client.get("/health/ready")
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        finally:
            gate.set()
            holder.join()
        assert client.post(PREDICT, json=BODY).status_code == 200
        assert client.get("/health/ready").status_code == 200


def test_readiness_follows_the_phase(client: TestClient):
    state = client.app.state.server  # type: ignore[attr-defined]
    for phase, detail in ((Phase.loading, "loaded"), (Phase.draining, "stopped")):
        state.phase = phase
        try:
            answer = client.get("/health/ready")
            assert (answer.status_code, detail in answer.json()["detail"]) == (503, True)
            assert client.get("/health/live").status_code == 200
        finally:
            state.phase = Phase.ready


def test_a_line_is_logged_without_what_was_sent(client: TestClient, log: pytest.LogCaptureFixture):
    client.post(PREDICT, json={"texts": ["secret kati"]})
    client.get("/v1/models/secret?q=secret")
    client.get("/secret/secret")
    client.get("/health/live")
    lines = [record.getMessage() for record in log.records]
    assert len(lines) == 3
    assert lines[0].startswith("POST /v1/models/{name}/predict 200 ")
    assert " ms texts=1 " in lines[0]
    assert lines[1].startswith("GET /v1/models/{name} 404 ")
    assert lines[2].startswith("OTHER (none) 404 ")
    for record in log.records:
        for formatter in (PlainLines(), JsonLines()):
            assert "secret" not in formatter.format(record)
        assert json.loads(JsonLines().format(record))["status"] in (200, 404)


def test_texts_are_logged_where_asked_for(model_folder: Path, log: pytest.LogCaptureFixture):
    with client_of(model_folder, log_texts=True) as client:
        client.post(PREDICT, json={"texts": ["open kati\nline two"]})
    line = PlainLines().format(log.records[-1])
    assert 'texts=["open kati\\nline two"]' in line
    assert "\n" not in line


def test_a_fault_of_xrt_is_500_and_its_text_is_not_logged(
    client: TestClient, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    def fail(self: Any, name: str) -> Any:
        raise ValueError("sec" + "ret")

    monkeypatch.setattr("xrt.serve.state.ServerState.model", fail)
    answer = client.post(PREDICT, json=BODY)
    assert answer.status_code == answer.json()["status"] == 500
    assert answer.headers["X-Request-Id"] in answer.json()["detail"]
    told = "\n".join(record.getMessage() for record in log.records)
    assert "ValueError" in told
    assert "test_door.py" in told
    assert "secret" not in told + answer.text
