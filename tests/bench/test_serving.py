"""The load on a server: what is counted, and what a server that breaks off looks like."""

import asyncio

import pytest

from bench.serving.load import Load
from bench.suites.serving import figures_of, render
from tests.test_client import FULL, GOOD, Scripted


def answers_of(server: Scripted, **how: float) -> list[int]:
    plan = {"host": "127.0.0.1", "port": server.http.server_port, "seconds": 0.3, **how}
    requests = [("/v1/models/m/predict", {"texts": ["a"]})]
    result = asyncio.run(Load({**plan, "requests": requests}).run())
    return [status for _, _, status in result["answers"]]


def test_each_client_goes_on_after_a_broken_connection():
    with Scripted((0, {}, b""), FULL, GOOD) as server:
        statuses = answers_of(server, clients=1)
        assert statuses[:3] == [0, 429, 200]
        assert set(statuses[3:]) <= {200}
        assert len(server.times) == len(statuses)


@pytest.mark.parametrize("how", [{"clients": 5, "once": 1}, {"rate": 100, "most": 50}])
def test_so_many_requests_are_sent_as_were_asked_for(how):
    with Scripted(GOOD) as server:
        statuses = answers_of(server, **how)
    assert set(statuses) == {200}
    assert len(statuses) == 5 if "once" in how else 10 <= len(statuses) <= 31


def test_only_good_answers_count_and_have_a_latency():
    answers = [[0.1 * i, 0.001 * i, 200] for i in range(1, 101)] + [[0.1, 9.0, 429]] * 7
    figures = figures_of({"answers": answers}, 10)
    assert figures["per_second"] == 10
    assert figures["statuses"] == {"200": 100, "429": 7}
    assert (round(figures["p50_ms"]), round(figures["p99_ms"]), round(figures["max_ms"])) == (
        51, 100, 100,
    )  # fmt: skip
    assert "p50_ms" not in figures_of({"answers": [[0, 1, 503]]}, 10)


def test_a_record_has_a_table_for_each_part():
    machine = {"processor": "p", "processors": 2, "memory_gb": 1, "python": "3"}
    common = {"date": "d", "commit": "c", "machine": machine, "command": "x", "load_average": 1.0}
    lines = [
        {**common, "part": "drain", "answered": {"200": 60}},
        {**common, "part": "lone", "a": 1},
    ]
    text = render(lines)
    assert "## drain\n\n| answered | load |" in text
    assert "| 200: 60 | 1 |" in text
    assert "## lone" in text
