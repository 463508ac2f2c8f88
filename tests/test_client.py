"""The client: the answers of a real server, and how it goes on when a server has no time."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tests.serve.serving import save_model, serving
from xrt import Predictor, Suggestion
from xrt.client import Client, read_key_file, split_address
from xrt.errors import ArtifactError, ConfigError, DataError, ServerError

KEY = "a-key-of-enough-signs-1234567890"


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory) -> Path:
    return save_model(tmp_path_factory.mktemp("client") / "small")


@pytest.fixture(scope="module")
def served(model_folder, tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("served")
    words = [str(model_folder), f"other={model_folder}", "--threads", "1"]
    with serving(words, folder, {"XRT_SERVE_KEY": KEY}) as server:
        yield server.address


@pytest.fixture(scope="module")
def client(served) -> Iterator[Client]:
    with Client(f"{served}/v1/models/small", KEY) as client:
        yield client


@pytest.fixture(scope="module")
def predictor(model_folder) -> Predictor:
    return Predictor.load(model_folder, num_threads=1)


def test_answers_are_those_of_the_predictor(client, predictor):
    texts = [f"kati lore {i}" for i in range(700)]  # three requests
    assert client.predict(texts, 3) == predictor.predict(texts, 3)
    assert client.predict("miso \ud800", 2, "micro-F1") == predictor.predict(
        "miso �", 2, "micro-F1"
    )
    assert client.predict([]) == []
    given = {"allowed": ["KATI", "KARE"], "tail": 0.5}
    assert client.predict(texts[:2], 9, **given) == predictor.predict(texts[:2], 9, **given)
    np.testing.assert_array_equal(
        client.score(texts[:300], ["KATI", "KARE"]), predictor.score(texts[:300], ["KATI", "KARE"])
    )
    assert client.score([], ["KATI"]).shape == (0, 1)
    explanation = predictor.explain("kati lore", 2).to_dict()
    assert client.explain("kati lore", 2) == json.loads(json.dumps(explanation))


def test_tells_of_models(client, predictor):
    assert [model["name"] for model in client.models()] == ["small", "other"]
    assert client.model()["version"] == predictor.artifact.digest


@pytest.mark.parametrize(
    ("ask", "kind", "said"),
    [
        (lambda c: c.predict(["a"], 0), DataError, "422: k: at least 1 is needed"),
        (lambda c: c.predict(["a"], min_score=float("nan")), DataError, ""),
        (lambda c: c.predict(["a"], allowed=["no such"]), DataError, "no such"),
        (lambda c: c.fill([{"a": "b"}]), DataError, "of labels"),
        (lambda c: c.predict([7]), DataError, "texts[0]"),
    ],
)
def test_the_server_says_what_is_wrong(client, ask, kind, said):
    with pytest.raises(kind) as raised:
        ask(client)
    assert said in str(raised.value)


def test_another_key_model_or_version_is_told(served, predictor, monkeypatch):
    small = f"{served}/v1/models/small"

    def ask(*words: str, **options: str) -> list[Suggestion]:
        with Client(*words, **options) as client:
            return client.predict("a")

    with pytest.raises(ConfigError, match="401"):
        ask(small, "another")
    monkeypatch.setenv("XRT_SERVE_KEY", KEY)
    with pytest.raises(ConfigError, match="404"):
        ask(f"{served}/v1/models/none")
    with pytest.raises(ConfigError, match=r"2 models; name one: .*/v1/models/small"):
        ask(served)
    assert ask(small, expect=predictor.artifact.digest) == predictor.predict("a")
    with pytest.raises(ArtifactError, match="was expected"):
        ask(small, expect="0" * 64)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("texts.txt", "kati lore\n\nmiso\n"),
        ("rows.jsonl", '{"text": "kati", "id": "7"}\n{"text": "lore \\ud800"}\n'),
        ("table.csv", "id,text\n1,kati lore\n2,\n"),
    ],
)
def test_the_command_writes_the_same_lines_for_folder_and_address(
    served, model_folder, tmp_path, name, content
):
    (tmp_path / name).write_text(content)
    (tmp_path / "key").write_text(f"{KEY}\n")
    (tmp_path / "allowed").write_text("KATI\nKARE\n")
    words = [name, "-k", "4", "--batch-size", "300", "--allowed", "allowed"]
    local, remote = (
        subprocess.run(
            [sys.executable, "-m", "xrt", "predict", model, *words, *more],
            capture_output=True, text=True, cwd=tmp_path,
        )
        for model, *more in (
            [str(model_folder)], [f"{served}/v1/models/small", "--key-file", "key"]
        )
    )  # fmt: skip
    assert (remote.stdout, remote.stderr) == (local.stdout, "")
    assert local.stdout.count("\n") >= 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["http://127.0.0.1:9/v1/models/x", "--compute", "int8"], "the server decides"),
        (["http://127.0.0.1:9/v1/wrong/x?a=b"], "no address of a server"),
        (["http://127.0.0.1:9/v1/models/x/predict"], "no address of a model"),
        (["http://127.0.0.1:9/v1/models/x", "--key-file", "no-file"], "give a file with the key"),
        (["http://127.0.0.1:9/v1/models/x", "--review", "r"], "attributes"),
        (["some-folder", "--key-file", "key"], "needs no key"),
    ],
)
def test_the_command_refuses_what_a_server_cannot_do(words, said, capsys, monkeypatch, tmp_path):
    from xrt import cli

    monkeypatch.chdir(tmp_path)
    Path("texts.txt").write_text("a\n")
    assert cli.main(["predict", words[0], "texts.txt", *words[1:]]) == 2
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1


class Scripted:
    """A server that answers with these statuses, headers and bodies, one after the other."""

    def __init__(self, *answers: tuple[int, dict[str, str], bytes]) -> None:
        self.times: list[float] = []
        self.paths: list[str] = []
        remaining = list(answers)
        times, paths = self.times, self.paths

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                paths.append(self.path)
                times.append(time.monotonic())
                status, headers, body = remaining.pop(0) if len(remaining) > 1 else remaining[0]
                if status == 0:  # breaks off, as a killed worker does
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1/models/m"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


GOOD = (200, {}, b'{"version": "v", "results": [{"suggestions": []}]}')
FULL = (429, {"Retry-After": "0"}, b'{"detail": "the queue is full"}')


def test_a_full_queue_is_asked_again():
    loading = (503, {"Retry-After": "0.3"}, b"{}")
    with Scripted(FULL, loading, (0, {}, b""), GOOD) as server, Client(server.url) as client:
        assert client.predict(["a"]) == [[]]
    assert len(server.times) == 4
    assert server.times[2] - server.times[1] >= 0.3


def test_the_whole_time_is_bounded_and_the_last_answer_is_told():
    with Scripted(FULL) as server, Client(server.url, timeout=0.6) as client:
        begin = time.monotonic()
        with pytest.raises(ServerError, match="429: the queue is full"):
            client.predict(["a"])
        assert time.monotonic() - begin < 5
    assert len(server.times) >= 2
    later = (503, {"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"}, b"{}")
    with Scripted(later) as server, Client(server.url, timeout=60) as client:
        begin = time.monotonic()
        with pytest.raises(ServerError, match="503"):
            client.predict(["a"])
        assert time.monotonic() - begin < 30  # it does not wait for what cannot come in time
        assert len(server.times) == 1


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, b"<html>another server</html>"),
        (200, {}, b"[]"),
        (200, {}, b'{"results": []}'),
        (200, {}, b'{"results": [{"suggestions": [{"label": "a"}]}]}'),
    ],
)
def test_another_kind_of_server_is_told(answer):
    with Scripted(answer) as server, Client(server.url) as client:
        with pytest.raises(ServerError, match="no answer of xrt serve"):
            client.predict(["a"])
        assert len(server.times) == 1


def test_labels_are_looked_up():
    body = b'{"labels": [{"label": "1", "name": "Caf\xc3\xa9"}], "more": false}'
    with Scripted((200, {}, body)) as server, Client(server.url) as client:
        assert client.labels("caf\xe9 &", 3) == [("1", "Caf\xe9")]
        assert server.paths == ["/v1/models/m/labels?q=caf%C3%A9%20%26&limit=3"]


def test_an_address_where_nobody_listens_is_refused_at_once():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # and does not listen
        client = Client(f"http://127.0.0.1:{free.getsockname()[1]}/v1/models/m", timeout=60)
        started = time.monotonic()
        with pytest.raises(ServerError, match="is xrt serve running there"):
            client.predict(["a text"])
        assert time.monotonic() - started < 5


def test_nothing_is_tried_again_that_was_refused():
    with Scripted((504, {}, b'{"detail": "late"}')) as server, Client(server.url) as client:
        with pytest.raises(ServerError, match="504: late"):
            client.predict(["a"])
        assert len(server.times) == 1


def test_no_server_at_all_is_one_line():
    with (
        Client("http://127.0.0.1:9", timeout=0.5) as client,
        pytest.raises(ServerError, match="is xrt serve running there"),
    ):
        client.models()


@pytest.mark.parametrize(
    ("url", "server", "model"),
    [
        ("http://h:8000", "http://h:8000", None),
        ("https://h/pre/v1/models/a%20b/", "https://h/pre", "a b"),
        ("http://[::1]:80/v1/models", "http://[::1]:80", None),
    ],
)
def test_addresses(url, server, model):
    assert split_address(url) == (server, model)


@pytest.mark.parametrize(
    "url", ["", "h:8000", "ftp://h", "http://", "http://h:x", "http://k@h", "http://h/v1/modelsx"]
)
def test_what_is_no_address(url):
    with pytest.raises(ConfigError, match="no address"):
        split_address(url)


def test_settings_that_cannot_be(tmp_path):
    for timeout in (0, -1, float("nan")):
        with pytest.raises(ConfigError, match="timeout"):
            Client("http://h", timeout=timeout)
    with pytest.raises(ConfigError, match="ASCII"):
        Client("http://h", "schlüssel-€")
    (tmp_path / "key").write_text("\n")
    with pytest.raises(ConfigError, match="empty"):
        read_key_file(str(tmp_path / "key"))
