"""A client of `xrt serve`: what `Predictor` answers, from a server.

with Client("http://127.0.0.1:8000/v1/models/products") as client:
    client.predict(["usb-c charger 65w"], k=5)      # [[Suggestion(label, name, score), ...]]

N texts, A labels.
"""

import email.utils
import json
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload
from urllib.parse import quote, unquote, urlsplit

import httpx2
import numpy as np

from xrt.errors import ArtifactError, ConfigError, DataError, ServerError
from xrt.predict import Suggestion

T = TypeVar("T")
KEY_VARIABLE = "XRT_SERVE_KEY"
MOST_TEXTS = 256
"""Texts of one request; more are sent in several."""
TOTAL_TIME = 60.0
"""Seconds that a request may take with all its repetitions."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between the first two attempts and, doubled each time, between later ones."""
_MODELS = "/v1/models"
_TRY_AGAIN = (429, 503)
_JSON = {"Content-Type": "application/json"}


class Client:
    """Asks a server; may be used by several threads, and closed."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        timeout: float = TOTAL_TIME,
        expect: str | None = None,
    ) -> None:
        """Nothing is asked yet.

        Args:
            url: the address of a model, `http://host:8000/v1/models/NAME`, or of a server that has
                one model only.
            key: the server's key; None takes that of the variable XRT_SERVE_KEY, if it is set.
            timeout: seconds that a request may take with all its repetitions. A full queue (429), a
                server that is loading (503), and a connection that breaks are tried again; not a
                server that has never answered.
            expect: the digest that the model must have, as `xrt train` and `xrt inspect` print it.

        Raises:
            ConfigError: the address, key or timeout cannot be used.
        """
        self._server, self._model = split_address(url)
        self._timeout, self._expect = timeout, expect
        self._has_answered = False
        if not timeout > 0:
            raise ConfigError(f"timeout = {timeout}: seconds above 0 are needed")
        key = os.environ.get(KEY_VARIABLE) if key is None else key
        headers = {} if not key else {"Authorization": f"Bearer {key}"}
        try:
            self._http = httpx2.Client(headers=headers, timeout=timeout)
        except (UnicodeEncodeError, httpx2.HTTPError) as err:
            raise ConfigError("the key has signs that no header can hold; use ASCII") from err

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def models(self) -> list[dict[str, Any]]:
        """What the server tells of each of its models: name, version, metrics and so on.

        Returns:
            A dictionary a model.

        Raises:
            XrtError: as in `predict`.
        """
        models = self._ask("GET", _MODELS, None, lambda answer: answer["models"])
        return [dict(model) for model in models]

    def model(self) -> dict[str, Any]:
        """What the server tells of the model.

        Returns:
            As an entry of `models`.

        Raises:
            XrtError: as in `predict`.
        """
        model: dict[str, Any] = self._ask("GET", self._path(), None, dict)
        return model

    @overload
    def predict(  # type: ignore[overload-overlap]
        self,
        texts: str,
        k: int = 5,
        min_score: float | str = 0.0,
        *,
        allowed: Sequence[str] | None = None,
        forbidden: Sequence[str] | None = None,
        tail: float = 0.0,
    ) -> list[Suggestion]: ...

    @overload
    def predict(
        self,
        texts: Sequence[str],
        k: int = 5,
        min_score: float | str = 0.0,
        *,
        allowed: Sequence[str] | None = None,
        forbidden: Sequence[str] | None = None,
        tail: float = 0.0,
    ) -> list[list[Suggestion]]: ...

    def predict(
        self,
        texts: Sequence[str] | str,
        k: int = 5,
        min_score: float | str = 0.0,
        *,
        allowed: Sequence[str] | None = None,
        forbidden: Sequence[str] | None = None,
        tail: float = 0.0,
    ) -> list[Suggestion] | list[list[Suggestion]]:
        """The best labels of each text, best first.

        Args:
            texts: texts, or one text.
            k: labels of a text, at most.
            min_score: labels that score below it are left out; or the name of a tuned threshold.
            allowed: ids of labels: no others are suggested.
            forbidden: ids of labels that are never suggested.
            tail: above 0, up to 1, ranks rare labels higher.

        Returns:
            A list of suggestions for each text; for one string one list.

        Raises:
            DataError: the server refuses what was sent; the message is the server's.
            ConfigError: the server does not know the model, or wants another key.
            ServerError: the server cannot be reached or had no time within `timeout`.
            ArtifactError: the model is another than expected.
        """
        options = {"k": k, "min_score": min_score, "tail": tail} | {
            name: list(ids)
            for name, ids in (("allowed", allowed), ("forbidden", forbidden))
            if ids is not None
        }
        lone = [texts] if isinstance(texts, str) else None
        rows = self._in_parts("predict", "texts", lone or texts, options, _suggestions)
        return rows if lone is None else rows[0]

    def score(self, texts: Sequence[str], labels: Sequence[str]) -> np.ndarray:
        """Scores of labels for each text, however they rank.

        Args:
            texts: N texts.
            labels: ids of A labels.

        Returns:
            float32 (N, A), in [0, 1].

        Raises:
            XrtError: as in `predict`.
        """
        rows = self._in_parts(
            "score", "texts", texts, {"labels": list(labels)}, lambda answer: answer["scores"]
        )
        return np.array(rows, np.float32).reshape(len(texts), len(labels))

    def explain(self, text: str, k: int = 5, labels: Sequence[str] | None = None) -> dict[str, Any]:
        """Why the model suggests what it does.

        Args:
            text: the text.
            k: how many of the best labels are explained.
            labels: ids of labels that are explained instead.

        Returns:
            Plain values, as `Explanation.to_dict` of `Predictor.explain` gives them.

        Raises:
            XrtError: as in `predict`.
        """
        body = {"text": text, "k": k, "labels": None if labels is None else list(labels)}
        return self._ask("POST", self._path("explain"), body, lambda a: dict(a["explanation"]))

    def fill(self, items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The attributes of items; for a model of attributes.

        Args:
            items: values by the names of columns.

        Returns:
            For each item, each attribute's `value` and `score`.

        Raises:
            XrtError: as in `predict`.
        """
        items = [dict(item) for item in items]
        return self._in_parts("fill", "items", items, {}, lambda answer: answer["results"])

    def labels(self, query: str = "", limit: int = 20) -> list[tuple[str, str]]:
        """Labels whose id or name begins with, or holds, some letters.

        Args:
            query: the letters.
            limit: labels, at most.

        Returns:
            Id and name of each, best first.

        Raises:
            XrtError: as in `predict`.
        """
        path = f"{self._path('labels')}?q={quote(query, safe='')}&limit={limit}"
        return self._ask(
            "GET", path, None, lambda a: [(one["label"], one["name"]) for one in a["labels"]]
        )

    def _in_parts(
        self,
        action: str,
        name: str,
        inputs: Sequence[Any],
        options: Mapping[str, Any],
        read: Callable[[Any], list[Any]],
    ) -> list[Any]:
        """The results of all inputs, which are sent in as many requests as needed."""
        path, results = self._path(action), []
        for start in range(0, len(inputs), MOST_TEXTS):
            part = list(inputs[start : start + MOST_TEXTS])
            rows = self._ask("POST", path, {name: part, **options}, read)
            if len(rows) != len(part):
                raise _no_answer(self._server, f"{len(rows)} results for {len(part)} {name}")
            results += rows
        return results

    def _path(self, action: str = "") -> str:
        """The path of the model; where the address names none, of the only model."""
        if self._model is None:
            names = [str(model["name"]) for model in self.models()]
            if len(names) != 1:
                raise ConfigError(
                    f"{self._server}: {len(names)} models; name one: "
                    + ", ".join(self._server + model_path(name) for name in names[:5])
                )
            self._model = names[0]
        return model_path(self._model) + (f"/{action}" if action else "")

    def _ask(
        self,
        method: str,
        path: str,
        body: Any,
        read: Callable[[Any], T],
    ) -> T:
        """What `read` makes of the answer to a request, which is sent until it is answered."""
        until = time.monotonic() + self._timeout
        content = None if body is None else _as_json(body)
        for attempt in range(1_000_000):
            left = max(until - time.monotonic(), 0.001)
            try:
                response = self._http.request(
                    method, self._server + path, content=content, headers=_JSON, timeout=left
                )
            except httpx2.TransportError as err:
                fault: Exception = ServerError(
                    f"{self._server}: no answer ({str(err) or type(err).__name__}); is xrt serve "
                    "running there?"
                )
                if not self._has_answered and isinstance(err, httpx2.ConnectError):
                    raise fault from err  # the address is wrong, rather than the server busy
                asked_pause = 0.0
            except (httpx2.HTTPError, httpx2.InvalidURL) as err:
                raise ConfigError(f"{self._server}: cannot be asked ({err})") from err
            else:
                self._has_answered = True
                if response.status_code not in _TRY_AGAIN:
                    return self._read(response, read)
                fault = ServerError(_detail(response))
                asked_pause = _retry_after(response)
            backoff = random.uniform(0.5, 1.0) * min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE)
            pause = asked_pause + backoff
            if time.monotonic() + pause >= until:
                raise fault
            time.sleep(pause)
        raise AssertionError

    def _read(self, response: httpx2.Response, read: Callable[[Any], T]) -> T:
        status = response.status_code
        if status != 200:
            raise _error_of(status)(_detail(response))
        try:
            answer = response.json()
            version = answer.get("version", self._expect)
            result = read(answer)
        except (ValueError, TypeError, KeyError, AttributeError) as err:
            raise _no_answer(str(response.url), f"{type(err).__name__}: {err}") from err
        if self._expect is not None and version != self._expect:
            raise ArtifactError(
                f"{self._server}: the model is {version}, {self._expect} was expected; ask the "
                "server that has it"
            )
        return result


def split_address(url: str) -> tuple[str, str | None]:
    """The server and the model of an address.

    Args:
        url: `http(s)://HOST[:PORT][/PREFIX][/v1/models/NAME]`.

    Returns:
        The address of the server, and the name of the model or None.

    Raises:
        ConfigError: no such address.
    """
    try:
        parts = urlsplit(url)
        is_usable = bool(parts.scheme in ("http", "https") and parts.hostname)
        _ = parts.port
    except ValueError:
        is_usable = False
    if not is_usable or parts.query or parts.fragment or "@" in parts.netloc:
        raise ConfigError(
            f"{url!r}: no address of a server; write http://HOST:PORT/v1/models/NAME (keys go to "
            f"{KEY_VARIABLE})"
        )
    prefix, found, name = parts.path.rstrip("/").partition(_MODELS)
    if found and (not name or (name.startswith("/") and "/" not in name[1:])):
        return f"{parts.scheme}://{parts.netloc}{prefix}", unquote(name[1:]) or None
    if found:
        raise ConfigError(f"{url!r}: no address of a model; write .../v1/models/NAME")
    return f"{parts.scheme}://{parts.netloc}{prefix}", None


def read_key_file(path: str) -> str:
    """The key of a file that holds nothing else.

    Args:
        path: the file.

    Returns:
        The key.

    Raises:
        ConfigError: the file cannot be read, or is empty.
    """
    try:
        key = Path(path).read_bytes().decode("latin-1").strip("\r\n")
    except OSError as err:
        raise ConfigError(f"{path}: {err.strerror}; give a file with the key") from err
    if not key:
        raise ConfigError(f"{path}: empty; write the server's key into it")
    return key


def model_path(name: str) -> str:
    """The path of a model of a server.

    Args:
        name: its name.

    Returns:
        The path.
    """
    return f"{_MODELS}/{quote(name, safe='')}"


def _as_json(body: Any) -> bytes:
    """The body of a request; halves of surrogate pairs are escapes, which the server repairs."""
    try:
        return json.dumps(body, allow_nan=False).encode("ascii")
    except (ValueError, TypeError) as err:
        raise DataError(f"the request is no JSON ({err}); send texts and finite numbers") from err


def _suggestions(answer: Any) -> list[list[Suggestion]]:
    return [
        [
            Suggestion(str(one["label"]), str(one["name"]), float(one["score"]))
            for one in result["suggestions"]
        ]
        for result in answer["results"]
    ]


def _error_of(status: int) -> type[DataError | ConfigError | ServerError]:
    """The kind of error that an HTTP status stands for."""
    if status in (401, 403, 404, 405):
        return ConfigError
    return DataError if 400 <= status < 500 and status != 408 else ServerError


def _detail(response: httpx2.Response) -> str:
    """What the server says of an error, with its address."""
    try:
        detail = str(response.json()["detail"])
    except (ValueError, TypeError, KeyError):
        detail = response.reason_phrase
    return f"{response.url}: {response.status_code}: {detail}"


def _retry_after(response: httpx2.Response) -> float:
    """Seconds that the server asks to wait: a number or a date; 0 where it asks for nothing."""
    value = response.headers.get("Retry-After", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError):
            return 0.0
    return max(seconds, 0.0) if seconds == seconds else 0.0


def _no_answer(place: str, fault: str) -> ServerError:
    return ServerError(f"{place}: no answer of xrt serve ({fault[:200]}); check the address")
