"""What `xrt serve` is told: each fault is one line, before anything is loaded."""

import socket
from pathlib import Path

import pytest

from xrt import cli
from xrt.errors import ConfigError
from xrt.serve.options import (
    ServeOptions,
    bind_socket,
    is_loopback,
    name_models,
    parse_size,
    parse_time,
    read_key,
)


def test_names_are_those_of_folders_or_given():
    assert name_models(["a/b/model-1", "x=other", "odd=name=c"]) == {
        "model-1": Path("a/b/model-1"), "x": Path("other"), "odd": Path("name=c"),
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"b/m: a second model named m \(the first is a/m\)"):
        name_models(["a/m", "b/m"])
    with pytest.raises(ConfigError, match="cannot be the name of a model"):
        name_models(["a/my model"])


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True),
        ("localhost", True), ("0.0.0.0", False), ("::", False), ("10.1.2.3", False),
        ("no such host", False),
    ],
)  # fmt: skip
def test_which_addresses_only_this_machine_reaches(host: str, expected: bool):
    assert is_loopback(host) is expected


def test_elsewhere_needs_a_key():
    with pytest.raises(ConfigError, match=r"--host 0.0.0.0: .* no key; give --key-file FILE"):
        ServeOptions({}, host="0.0.0.0")
    assert ServeOptions({}, host="0.0.0.0", key="k" * 16).key
    assert "kkkk" not in repr(ServeOptions({}, key="k" * 16))


def test_keys_come_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.delenv("XRT_SERVE_KEY", raising=False)
    monkeypatch.setattr("xrt.serve.options.LOGGER.propagate", True)
    assert read_key(None) is None
    path = tmp_path / "key"
    path.write_text("0123456789abcdef\n")
    path.chmod(0o600)
    assert read_key(str(path)) == "0123456789abcdef"
    assert not caplog.records
    path.chmod(0o644)
    read_key(str(path))
    assert "others may read the key (mode 644); chmod 600" in caplog.text
    assert "0123456789" not in caplog.text
    monkeypatch.setenv("XRT_SERVE_KEY", "x" * 20)
    assert read_key(None) == "x" * 20
    for bad in ("", "short", "x" * 20 + " y", "\xe9" * 20):
        path.write_text(bad, encoding="latin-1")
        with pytest.raises(ConfigError, match="16 characters at least"):
            read_key(str(path))
    with pytest.raises(ConfigError, match="No such file"):
        read_key(str(tmp_path / "nothing"))


def test_sizes_and_times():
    assert [parse_size(t) for t in ("8MB", "512KiB", "1000", "1.5 kb")] == [
        8_000_000, 524_288, 1000, 1500,
    ]  # fmt: skip
    assert [parse_time(t) for t in ("30s", "500ms", "2m", "1")] == [30, 0.5, 120, 1]
    for bad in ("", "8XB", "-1s", "0s", "nan", "1e9s", "99999999m", "٣s"):
        with pytest.raises(ValueError, match=r"no such (size|time)"):
            parse_time(bad)


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("xrt: error: ")
    return lines[0]


def test_a_port_in_use_is_one_line(model_folder: Path, capsys: pytest.CaptureFixture[str]):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert cli.main(["serve", str(model_folder), "--port", str(port)]) == 2
    assert f"port {port} of 127.0.0.1: Address already in use" in one_line(capsys)
    with pytest.raises(ConfigError, match="give an address of this machine"):
        bind_socket("no such host", 0)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["a/m", "b/m"], "a second model named m"),
        (["a/m", "--host", "0.0.0.0"], "give --key-file FILE or set XRT_SERVE_KEY"),
        (["a/m", "--key-file", "/nothing"], "/nothing: No such file or directory"),
    ],
)
def test_faults_are_one_line(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("XRT_SERVE_KEY", raising=False)
    assert cli.main(["serve", *words]) == 2
    assert line in one_line(capsys)


@pytest.mark.parametrize(
    "words",
    [["--port", "70000"], ["--deadline", "soon"], ["--max-body", "8XB"], ["--workers", "0"]],
)
def test_bad_values_of_options_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        cli.main(["serve", "m", *words])
    assert words[1] in capsys.readouterr().err


def test_an_extra_that_is_not_installed_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.main(["serve", "m"]) == 2
    assert "pip install 'xrt-xmc[serve]'" in one_line(capsys)
