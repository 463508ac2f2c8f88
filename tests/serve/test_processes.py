"""`xrt serve` as it runs: signals, dead workers, reloading, connections that misbehave.

Requests are real ones, over sockets. What takes longer than a start of the server is marked slow.
"""

import json
import os
import shutil
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.serve.serving import LONG_WAIT, PREDICT, Served, is_running, save_model, serving

MANY_TEXTS = {"texts": [f"kati lore miso {n}" for n in range(64)], "k": 20}


@pytest.fixture(scope="module")
def server(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all tests that leave it as it was."""
    words = [str(model_folder), "--deadline", "3s", "--max-body", "2MB"]
    with serving(words, tmp_path_factory.mktemp("server")) as server:
        yield server


def wait_for(condition: Callable[[], Any]) -> Any:
    until = time.monotonic() + LONG_WAIT
    while not (outcome := condition()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return outcome


def connect(server: Served) -> socket.socket:
    host, _, port = server.address.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=LONG_WAIT)


def head(length: int, path: str = PREDICT) -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def read_all(connection: socket.socket) -> bytes:
    answer = b""
    while block := connection.recv(65536):
        answer += block
    return answer


def test_answers(server: Served):
    status, content, headers = server.predict()
    assert status == 200
    assert content["results"][0]["suggestions"][0]["label"] == "KATI"
    assert headers["X-Model-Version"] == content["version"]
    assert server.ask("/health/ready")[0] == 200


def test_half_a_body_is_no_request(server: Served):
    with connect(server) as connection:
        connection.sendall(head(100) + b'{"texts"')
    with connect(server) as connection:
        connection.sendall(head(100)[:40])
    assert server.predict()[0] == 200
    assert "Traceback" not in server.log.read_text()


def test_a_slow_body_is_408_and_holds_nobody_up(server: Served):
    with connect(server) as connection:
        connection.sendall(head(100) + b'{"texts"')
        assert server.predict()[0] == 200
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer


def test_a_long_body_is_refused_by_its_head(server: Served):
    with connect(server) as connection:
        connection.sendall(head(10**9))
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == 413


def test_what_is_no_http_is_refused_as_a_problem(server: Served):
    for sent, status in (
        (b"\x16\x03\x01 hello\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 2**17, b"431"),
    ):
        with connect(server) as connection:
            connection.sendall(sent)
            answer = read_all(connection)
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == int(status)


def test_a_client_that_has_gone_is_not_computed(server: Served):
    def num_batches() -> float:
        with urllib.request.urlopen(server.address + "/metrics") as response:
            lines = response.read().decode().splitlines()
        return float(next(li for li in lines if li.startswith("xrt_batch_texts_sum")).split()[-1])

    before, body = num_batches(), json.dumps(MANY_TEXTS).encode()
    asked = 40
    connections = [connect(server) for _ in range(asked)]
    for connection in connections:
        connection.sendall(head(len(body)) + body)
    for connection in connections:
        connection.close()
    wait_for(lambda: server.predict()[0] == 200)
    assert num_batches() - before < asked * 64


def test_sigterm_answers_what_is_in_flight(model_folder: Path, tmp_path: Path):
    with serving([str(model_folder)], tmp_path) as server, ThreadPoolExecutor(60) as pool:
        answers = [pool.submit(server.ask, PREDICT, MANY_TEXTS) for _ in range(60)]
        wait_for(lambda: sum(answer.done() for answer in answers) >= 2)
        server.process.send_signal(signal.SIGTERM)
        status, content, headers = server.ask("/health/ready")
        assert (status, headers["Retry-After"]) == (503, "1")
        assert "stopped" in content["detail"]
        assert [answer.result()[0] for answer in answers] == [200] * 60
        assert server.process.wait(LONG_WAIT) == 0
        assert "Traceback" not in server.log.read_text()


def test_a_model_that_cannot_be_opened_is_one_line(tmp_path: Path, model_folder: Path):
    broken = tmp_path / "broken"
    shutil.copytree(model_folder, broken)
    (broken / "labels.tsv").write_bytes(b"x")
    for more in ([], ["--workers", "2"]):
        server = Served([str(broken), *more], tmp_path / "log")
        assert server.process.wait(LONG_WAIT) == 2
        server._file.close()
        (line,) = (tmp_path / "log").read_text().strip().splitlines()
        assert line.startswith(f"xrt: error: {broken}: labels.tsv")


def test_broken_decisions_are_one_line(tmp_path: Path, model_folder: Path):
    broken = tmp_path / "decisions.jsonl"
    broken.write_text("no JSON\n")
    for workers in ("1", "2"):
        words = [str(model_folder), "--decisions", str(broken), "--workers", workers]
        server = Served(words, tmp_path / "log")
        assert server.process.wait(LONG_WAIT) == 2
        server._file.close()
        (line,) = (tmp_path / "log").read_text().strip().splitlines()
        assert line.startswith(f"xrt: error: {broken}: line 1")


class Load:
    """Clients that ask again and again; every answer is noted."""

    def __init__(self, server: Served, clients: int = 4) -> None:
        self.server, self.stopped = server, threading.Event()
        self.answers: list[tuple[int, str, str]] = []
        self.threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def _ask(self) -> None:
        while not self.stopped.is_set():
            try:
                status, content, headers = self.server.predict()
                version = headers.get("X-Model-Version", "")
                self.answers.append((status, version, content.get("version", "")))
            except OSError as error:
                self.answers.append((0, str(error), ""))

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join()


def replace(folder: Path, other: Path) -> None:
    """Put a copy of another model at the place of a model, as `xrt train` does."""
    fresh = folder.with_name("fresh")
    shutil.copytree(other, fresh)
    folder.rename(folder.with_name("old"))
    fresh.rename(folder)
    shutil.rmtree(folder.with_name("old"))


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_reloads_under_load_fail_nobody(model_folder: Path, tmp_path: Path, workers: str):
    models = [model_folder, save_model(tmp_path / "second", seed=1)]
    folder = Path(shutil.copytree(model_folder, tmp_path / "small"))
    words = [str(folder), "--allow-reload", "--workers", workers]
    with serving(words, tmp_path) as server, Load(server) as load:
        versions = []
        for turn in range(20):
            replace(folder, models[(turn + 1) % 2])
            status, content, _ = server.ask("/-/reload", {"name": "small"})
            assert status == 200, content
            versions.append(content["models"][0]["version"])
            for _ in range(4):
                assert server.predict()[1]["version"] == versions[-1]
        (folder / "labels.tsv").rename(folder / "labels.txt")
        status, content, _ = server.ask("/-/reload", {})
        assert (status, "those of before" in content["detail"]) == (409, True)
        assert server.predict()[1]["version"] == versions[-1]
        assert server.ask("/v1/models")[1]["models"][0]["version"] == versions[-1]
    assert len(set(versions)) == 2
    assert {status for status, _, _ in load.answers} == {200}
    assert all(of_header == of_body for _, of_header, of_body in load.answers)
    assert {version for _, version, _ in load.answers} == set(versions)


@pytest.mark.slow
def test_a_worker_that_is_killed_is_started_again(model_folder: Path, tmp_path: Path):
    with serving([str(model_folder), "--workers", "2"], tmp_path) as server:
        first = wait_for(lambda: len(server.workers()) == 2 and server.workers())
        with Load(server) as load:
            time.sleep(0.5)
            victim = first[0]
            os.kill(victim, signal.SIGKILL)
            killed = time.monotonic()
            wait_for(lambda: len(server.workers()) == 2 and victim not in server.workers())
            wait_for(lambda: "is started again" in server.log.read_text())
            time.sleep(3)
        assert killed
        lost = [answer for answer in load.answers if answer[0] != 200]
        assert len(lost) <= 4, lost
        assert not any(status for status, _, _ in lost), lost
        assert len(load.answers) > 20
        assert server.end() == 0


@pytest.mark.slow
def test_workers_end_with_their_supervisor(model_folder: Path, tmp_path: Path):
    with serving([str(model_folder), "--workers", "2"], tmp_path) as server:
        workers = wait_for(lambda: len(server.workers()) == 2 and server.workers())
        server.process.kill()
        server.process.wait()
        wait_for(lambda: not any(is_running(pid) for pid in workers))


@pytest.mark.slow
def test_sigterm_ends_all_workers_in_order(model_folder: Path, tmp_path: Path):
    words = [str(model_folder), "--workers", "2"]
    with serving(words, tmp_path) as server, ThreadPoolExecutor(60) as pool:
        workers = wait_for(lambda: len(server.workers()) == 2 and server.workers())
        answers = [pool.submit(server.ask, PREDICT, MANY_TEXTS) for _ in range(60)]
        wait_for(lambda: sum(answer.done() for answer in answers) >= 2)
        server.process.send_signal(signal.SIGTERM)
        assert [answer.result()[0] for answer in answers] == [200] * 60
        assert server.process.wait(LONG_WAIT) == 0
        assert not any(is_running(pid) for pid in workers)


@pytest.mark.slow
def test_numbers_are_those_of_all_workers(model_folder: Path, tmp_path: Path):
    with serving([str(model_folder), "--workers", "2"], tmp_path) as server:
        with ThreadPoolExecutor(8) as pool:
            assert [a[0] for a in pool.map(lambda _: server.predict(), range(40))] == [200] * 40
        for _ in range(8):  # whichever worker is asked
            with urllib.request.urlopen(server.address + "/metrics") as response:
                text = response.read().decode()
            assert 'xrt_texts_total{model="small"} 40.0' in text
            assert text.count("xrt_model_info{") == 1
