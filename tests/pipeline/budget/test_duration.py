"""Times as people write them."""

import pytest

from xrt.cli import main
from xrt.errors import ConfigError
from xrt.pipeline import PipelineParams
from xrt.pipeline.budget.duration import duration_text, seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("1h30m", 5400), ("2h", 7200), ("1.5h", 5400), ("1h1m1s", 3661)],
)
def test_a_time_is_read(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("seconds", [45, 90, 600, 5400, 7200])
def test_a_time_is_written_as_it_is_read(seconds):
    assert seconds_of(duration_text(seconds)) == seconds


@pytest.mark.parametrize("text", ["30", "1.5"])
def test_a_unit_that_is_missing_is_asked_for(text):
    with pytest.raises(ConfigError, match=rf"budget = {text}: the unit is missing; .*={text}m"):
        PipelineParams(budget=text)


@pytest.mark.parametrize("text", ["0", "0m", "-5m", "-5", "", "ten minutes", "m", "5m3h", "10 m 3"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ConfigError, match=r"budget = .*a time above 0 is needed; .*budget=10m"):
        PipelineParams(budget=text)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["budget=30"], "budget = 30: the unit is missing; write budget=30m"),
        (["budget=0m"], "budget = '0m': a time above 0 is needed"),
        (["budget=10m", "encoder=none"], "budget: has no effect without an encoder"),
    ],
)
def test_the_command_refuses_in_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"xrt: error: {message}")
    assert err.count("\n") == 1
