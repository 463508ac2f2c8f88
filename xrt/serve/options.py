"""What `xrt serve` is told, checked before anything is opened."""

import ipaddress
import os
import re
import socket
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xrt.errors import ConfigError
from xrt.serve.logs import LOGGER

KEY_VARIABLE = "XRT_SERVE_KEY"
LEAST_KEY = 16
"""Characters that a key must have."""
BACKLOG = 1024
"""Connections that the system keeps until they are accepted."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SIZES = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_TIMES = {"": 1.0, "MS": 0.001, "S": 1.0, "M": 60.0}


@dataclass(frozen=True)
class ServeOptions:
    """What a server is to do. `folders`: the folder of each model, by its name."""

    folders: Mapping[str, Path]
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    """Processes that answer, each with the models, which share the memory of their files."""
    threads: int | None = None
    """Threads of each worker; None: the processors, divided by the workers."""
    key: str | None = field(default=None, repr=False)
    """What clients have to send; None: no key."""
    max_body: int = 8 * 10**6
    """Bytes of a body, at most."""
    queue_length: int = 64
    """Requests that may wait in a worker; the next is refused (429)."""
    deadline: float = 30.0
    """Seconds after which a request that has no answer yet gets 504."""
    grace: float = 30.0
    """Seconds that requests have to end when the server is told to."""
    decisions: Path | None = None
    queue: Path | None = None
    allow_reload: bool = False
    cors: tuple[str, ...] = ()
    root_path: str = ""
    log_texts: bool = False
    log_format: str = "plain"
    compute: str = "auto"

    def __post_init__(self) -> None:
        if not is_loopback(self.host) and self.key is None:
            raise ConfigError(
                f"--host {self.host}: other machines could reach the server, and there is no key; "
                f"give --key-file FILE or set {KEY_VARIABLE}, or leave --host out"
            )


def name_models(words: Sequence[str]) -> dict[str, Path]:
    """The folder of each model by its name.

    Args:
        words: `FOLDER`, whose last part is the name, or `NAME=FOLDER`.

    Returns:
        The folders by name, in order.

    Raises:
        ConfigError: A name is not usable in an address, or stands twice.
    """
    folders: dict[str, Path] = {}
    for word in words:
        name, separator, path = word.partition("=")
        if not separator or not _NAME.fullmatch(name):
            path = word
            name = Path(path).resolve().name
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"{word}: {name!r} cannot be the name of a model (1 to 64 letters, digits, . _ -); "
                "write NAME=FOLDER"
            )
        if name in folders:
            raise ConfigError(
                f"{path}: a second model named {name} (the first is {folders[name]}); write "
                "NAME=FOLDER"
            )
        folders[name] = Path(path)
    return folders


def read_key(key_file: str | None) -> str | None:
    """The key that clients have to send.

    Args:
        key_file: A file with nothing but the key; None: the environment.

    Returns:
        The key; None where there is none.

    Raises:
        ConfigError: The file cannot be read, or the key is too short or has blanks.
    """
    if key_file is None:
        key = os.environ.get(KEY_VARIABLE)
        return None if key is None else _checked_key(key, KEY_VARIABLE)
    path = Path(key_file)
    try:
        mode, content = path.stat().st_mode, path.read_bytes()
    except OSError as err:
        raise ConfigError(f"{path}: {err.strerror}; give a file with the key") from err
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        LOGGER.warning(
            "%s: others may read the key (mode %o); chmod 600 %s", path, stat.S_IMODE(mode), path
        )
    return _checked_key(content.decode("latin-1").strip("\r\n"), str(path))


def _checked_key(key: str, where: str) -> str:
    if len(key) < LEAST_KEY or not key.isascii() or not all("!" <= sign <= "~" for sign in key):
        raise ConfigError(
            f"{where}: a key has {LEAST_KEY} characters at least, ASCII without blanks; make one: "
            "python -c 'import secrets; print(secrets.token_urlsafe())'"
        )
    return key


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server at an address.

    Args:
        host: A name or an address.

    Returns:
        True for loopback addresses, and for names that have no others.
    """
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None)
    except OSError:
        return False
    return all(ipaddress.ip_address(str(each[4][0])).is_loopback for each in found)


def bind_socket(host: str, port: int) -> socket.socket:
    """A socket that listens at an address; who connects waits until somebody accepts.

    Args:
        host: A name or an address.
        port: The port; 0 for any.

    Returns:
        The socket; other processes can be given it.

    Raises:
        ConfigError: The port is in use, or the address is none of this machine.
    """
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as err:
        raise ConfigError(
            f"--host {host}: {err.strerror}; give an address of this machine"
        ) from err
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
        bound.listen(BACKLOG)
    except OSError as err:
        bound.close()
        raise ConfigError(
            f"port {port} of {host}: {err.strerror}; stop what uses it, or give another --port"
        ) from err
    return bound


def parse_size(text: str) -> int:
    """A number of bytes from `8MB`, `512KiB` or `1000`.

    Args:
        text: What was written.

    Returns:
        Bytes, at least 1.

    Raises:
        ValueError: It is none of that.
    """
    return max(1, round(_parse(text, _SIZES)))


def parse_time(text: str) -> float:
    """Seconds from `30s`, `500ms`, `2m` or `30`.

    Args:
        text: What was written.

    Returns:
        Seconds, above 0.

    Raises:
        ValueError: It is none of that.
    """
    seconds = _parse(text, _TIMES)
    if not 0 < seconds <= 86_400:
        raise ValueError(f"no such time: {text!r}")
    return seconds


def _parse(text: str, units: Mapping[str, float]) -> float:
    match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*([A-Za-z]*)", text.strip())
    if match is None or match[2].upper() not in units:
        raise ValueError(f"no such size or time: {text!r}")
    return float(match[1]) * units[match[2].upper()]
