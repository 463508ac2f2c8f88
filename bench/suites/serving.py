"""`xrt serve` under load, beside a plain FastAPI handler: speed, overload, faults, memory.

    scripts/quickstart
    python -m bench serving --model runs/quickstart/model \
        --texts runs/quickstart/demo-12000-0/tst.jsonl

Parts, all by default; --parts names some:

    clients    1, 16 and 200 clients, each of which asks again when it has an answer, for --seconds;
               both servers one after the other, then again in the opposite order (--rounds)
    lone       `Predictor.predict` of one text in a process of its own, and one client
    overload   ten times the peak of 200 clients, for half of --seconds, on 256 connections
    drain      SIGTERM with 60 requests in flight
    kill       SIGKILL of one of two workers under 16 clients
    reload     20 reloads under 8 clients
    memory     private memory of each of two workers, and the size of the model's files
    mixed      predict, batches, score and explain by 8 clients for --minutes

Load comes from a process of its own. Each request is one text of --texts. Figures are JSON lines
in --output and a record in --record. CPU time stands beside wall time, because other work on the
machine changes one of them only.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.record import (
    Line,
    append_line,
    circumstances,
    document,
    head,
    number,
    publish,
    shown_command,
    table,
)
from bench.serving.servers import (
    Server,
    cpu_seconds,
    private_dirty_mb,
    resident_mb,
    result_of,
    serving,
    start_load,
)

CLIENTS = (1, 16, 200)
OVERLOAD, CONNECTIONS = 10, 256
IN_FLIGHT = 60
RELOADS = 20
_LONE = """
import json, sys, time
from xrt import Predictor
model, texts = sys.argv[1], json.loads(sys.stdin.read())
predictor = Predictor.load(model)
for text in texts[:50]:
    predictor.predict(text)
times = []
for text in texts:
    begin = time.perf_counter()
    predictor.predict(text)
    times.append(time.perf_counter() - begin)
print(json.dumps(times))
"""


def main(arguments: Sequence[str]) -> int:
    """Run the parts and publish the record. Returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="folder of a saved model")
    parser.add_argument("--texts", type=Path, required=True, help="JSONL with a text or title")
    parser.add_argument("--seconds", type=float, default=60, help="of each load (default 60)")
    parser.add_argument("--minutes", type=float, default=10, help="of the mixed load")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--serve", nargs="+", default=[], metavar="WORD", help="options of xrt serve"
    )
    parser.add_argument("--output", type=Path, default=Path("serving.jsonl"), help="appended to")
    parser.add_argument("--record", type=Path, help="markdown file to write")
    args = parser.parse_args(arguments)
    rows = args.texts.read_text(encoding="utf-8").splitlines()
    args.titles = [text_of(json.loads(row)) for row in rows[:1000]]

    lines = []
    for part in args.parts:
        for figures in PARTS[part](args):
            line = {
                **circumstances(shown_command("serving", args, ("model", "texts", "seconds"))),
                "part": part,
                **figures,
            }
            lines.append(line)
            append_line(args.output, line)
            print(json.dumps(line | {"machine": None, "versions": None}), flush=True)
    publish(render(lines), args.record)
    return 0


def text_of(record: dict[str, Any]) -> str:
    """The text of a row, or its title."""
    return str(record.get("text") or record["title"])


def requests_of(server: Server, args: argparse.Namespace) -> list[tuple[str, Any]]:
    """A request for each title."""
    return [(server.path, {"texts": [title], "k": 5}) for title in args.titles]


def figures_of(result: dict[str, Any], seconds: float, status: int = 200) -> Line:
    """Good answers a second and their latency in ms; answers by status."""
    answers = result["answers"]
    good = sorted(1000 * latency for _, latency, code in answers if code == status)
    statuses = Counter(str(code) for _, _, code in answers)
    figures: Line = {"per_second": len(good) / seconds, "statuses": dict(statuses)}
    if good:
        figures |= {
            "p50_ms": good[len(good) // 2],
            "p99_ms": good[min(len(good) - 1, int(len(good) * 0.99))],
            "max_ms": good[-1],
        }
    return figures


def clients(args: argparse.Namespace) -> Iterator[Line]:
    """Requests a second of both servers."""
    for round_ in range(args.rounds):
        kinds = ("xrt", "plain") if round_ % 2 == 0 else ("plain", "xrt")
        for num_clients in CLIENTS:
            for kind in kinds:
                with serving(kind, args.model, args.serve if kind == "xrt" else ()) as server:
                    result_of(start_load(server, requests_of(server, args), 2, clients=4))
                    load, before = os.getloadavg()[0], cpu_seconds(server.workers())
                    begin = time.monotonic()
                    result = result_of(
                        start_load(
                            server, requests_of(server, args), args.seconds, clients=num_clients
                        )
                    )
                    spent = cpu_seconds(server.workers()) - before
                    figures = figures_of(result, args.seconds)
                    yield {
                        "system": kind, "clients": num_clients, "turn": round_ + 1, **figures,
                        "cpu_ms": 1000 * spent / max(len(result["answers"]), 1),
                        "cores": spent / (time.monotonic() - begin),
                        "load_before": load,
                    }  # fmt: skip


def lone(args: argparse.Namespace) -> Iterator[Line]:
    """One text in a Python process, and one client of the server, in turn."""
    titles = args.titles[:500]
    for round_ in range(max(args.rounds, 3)):
        process = subprocess.run(
            [sys.executable, "-c", _LONE, str(args.model)],
            input=json.dumps(titles), capture_output=True, text=True, check=True,
            env={"GOMP_SPINCOUNT": "3000", **os.environ},
        )  # fmt: skip
        times = sorted(1000 * seconds for seconds in json.loads(process.stdout))
        with serving("xrt", args.model, args.serve) as server:
            result_of(start_load(server, requests_of(server, args), 2, clients=1))
            result = result_of(
                start_load(server, requests_of(server, args), min(args.seconds, 10), clients=1)
            )
        served = figures_of(result, args.seconds)
        yield {
            "turn": round_ + 1, "predictor_p50_ms": times[len(times) // 2],
            "predictor_p99_ms": times[int(len(times) * 0.99)],
            "served_p50_ms": served["p50_ms"], "served_p99_ms": served["p99_ms"],
        }  # fmt: skip


def overload(args: argparse.Namespace) -> Iterator[Line]:
    """Ten times the peak."""
    with serving("xrt", args.model, args.serve) as server:
        requests = requests_of(server, args)
        result_of(start_load(server, requests, 2, clients=4))
        seconds = args.seconds / 2
        peak = figures_of(result_of(start_load(server, requests, seconds, clients=60)), seconds)
        before = resident_mb(server.workers())
        rate = OVERLOAD * peak["per_second"]
        load = start_load(server, requests, seconds, rate=rate, most=CONNECTIONS)
        healths = []
        while load.poll() is None and load.stdout is not None:
            begin = time.monotonic()
            server.ask("/health/live")
            healths.append(1000 * (time.monotonic() - begin))
            time.sleep(0.2)
            if time.monotonic() - begin > 100 or len(healths) * 0.2 > seconds:
                break
        result = result_of(load)
        figures = figures_of(result, seconds)
        yield {
            "peak_per_second": peak["per_second"], "asked_per_second": rate,
            "sent_per_second": len(result["answers"]) / seconds,
            **figures, "of_peak": figures["per_second"] / peak["per_second"],
            "health_p99_ms": sorted(healths)[int(len(healths) * 0.99)],
            "memory_before_mb": before, "memory_after_mb": resident_mb(server.workers()),
        }  # fmt: skip


def drain(args: argparse.Namespace) -> Iterator[Line]:
    """SIGTERM while 60 clients wait for an answer."""
    with serving("xrt", args.model, args.serve) as server:
        texts = (args.titles * 2)[:64]
        load = start_load(server, [(server.path, {"texts": texts})], 0, clients=IN_FLIGHT, once=1)
        waiting, until = 0.0, time.monotonic() + 10
        while waiting < IN_FLIGHT / 2 and time.monotonic() < until:
            waiting = gauge(server, "xrt_queue")
        code, seconds = server.end()
        figures = figures_of(result_of(load), 1)
        yield {
            "in_flight": IN_FLIGHT, "in_queue_at_signal": waiting, "answered": figures["statuses"],
            "exit_code": code, "seconds": seconds,
        }  # fmt: skip


def gauge(server: Server, name: str) -> float:
    """The largest value of the server's gauges whose name begins with a word."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as response:
        lines = response.read().decode().splitlines()
    names = [line.split()[2] for line in lines if line.startswith("# TYPE") and "gauge" in line]
    values = [
        float(line.rsplit(" ", 1)[1])
        for line in lines
        if (family := line.partition("{")[0].split(" ")[0]) in names and family.startswith(name)
        and not family.endswith("_created")
    ]  # fmt: skip
    return max(values, default=0.0)


def kill(args: argparse.Namespace) -> Iterator[Line]:
    """SIGKILL of one of two workers."""
    begin = time.monotonic()
    with serving("xrt", args.model, [*args.serve, "--workers", "2"]) as server:
        start_seconds = time.monotonic() - begin
        while len(server.workers()) < 2:
            time.sleep(0.05)
        load = start_load(server, requests_of(server, args), args.seconds / 2, clients=16)
        time.sleep(args.seconds / 10)
        killed, others = server.workers()[0], set(server.workers())
        os.kill(killed, signal.SIGKILL)
        begin = time.monotonic()
        while not (len(server.workers()) == 2 and set(server.workers()) - others):
            time.sleep(0.02)
        new = (set(server.workers()) - others).pop()
        process_seconds = time.monotonic() - begin
        figures = figures_of(result_of(load), args.seconds / 2)
        yield {
            "start_seconds": start_seconds, "new_process_seconds": process_seconds,
            "new_process_cpu": cpu_seconds([new]), "clients": 16, **figures,
        }  # fmt: skip


def reload(args: argparse.Namespace) -> Iterator[Line]:
    """Reloads under load."""
    with serving("xrt", args.model, [*args.serve, "--allow-reload"]) as server:
        load = start_load(server, requests_of(server, args), args.seconds, clients=8)
        statuses, seconds = Counter(), []
        begin = time.monotonic()
        for _ in range(RELOADS):
            if time.monotonic() - begin > args.seconds - 5:
                break
            moment = time.monotonic()
            statuses[str(server.ask("/-/reload", {}, 120))] += 1
            seconds.append(time.monotonic() - moment)
        figures = figures_of(result_of(load), args.seconds)
        yield {
            "reloads": dict(statuses), "reload_seconds": statistics.median(seconds), "clients": 8,
            **figures,
        }  # fmt: skip


def memory(args: argparse.Namespace) -> Iterator[Line]:
    """What each of two workers holds alone."""
    with serving("xrt", args.model, [*args.serve, "--workers", "2"]) as server:
        while len(server.workers()) < 2:
            time.sleep(0.05)
        result_of(start_load(server, requests_of(server, args), 5, clients=16))
        files = sum(file.stat().st_size for file in args.model.rglob("*") if file.is_file())
        yield {
            "private_dirty_mb": sorted(private_dirty_mb(pid) for pid in server.workers()),
            "private_dirty_without_model_mb": bare_mb(),
            "model_mb": files / 2**20,
        }  # fmt: skip


def bare_mb() -> float:
    """Private memory of a process that has imported what a worker imports, and has no model."""
    code = (
        "import torch, faiss, fastapi, uvicorn, xrt.predict, xrt.model_encoder\n"
        "print(next(l.split()[1] for l in open('/proc/self/smaps_rollup') "
        "if l.startswith('Private_Dirty')))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(run.stdout) / 1024


def mixed(args: argparse.Namespace) -> Iterator[Line]:
    """Everything a server is asked, minute by minute."""
    with serving("xrt", args.model, args.serve) as server:
        one, base = requests_of(server, args), server.path.removesuffix("/predict")
        label = json.loads(args.texts.read_text(encoding="utf-8").splitlines()[0])["labels"][0]
        titles = args.titles
        requests = one[:600] + [
            (server.path, {"texts": titles[i : i + 16]}) for i in range(0, 320, 16)
        ]
        requests += [(f"{base}/score", {"texts": [t], "labels": [label]}) for t in titles[:50]]
        requests += [(f"{base}/explain", {"text": t, "k": 2}) for t in titles[:10]]
        requests += [(server.path, {"texts": [t], "allowed": [label]}) for t in titles[:50]]
        for minute in range(max(1, round(args.minutes))):
            result = result_of(start_load(server, requests, 60, clients=8))
            yield {
                "minute": minute + 1, **figures_of(result, 60),
                "memory_mb": resident_mb(server.workers()), "load_now": os.getloadavg()[0],
            }  # fmt: skip


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[Line]]] = {
    "clients": clients, "lone": lone, "overload": overload, "drain": drain, "kill": kill,
    "reload": reload, "memory": memory, "mixed": mixed,
}  # fmt: skip
_COMMON = ("date", "commit", "machine", "versions", "command", "load_average", "part")


def render(lines: Sequence[Line]) -> str:
    """The record: a table for each part."""
    parts = head("`xrt serve` under load", lines)
    for part in dict.fromkeys(line["part"] for line in lines):
        rows = [
            {key: value for key, value in line.items() if key not in _COMMON}
            | {"load": line["load_average"]}
            for line in lines
            if line["part"] == part
        ]
        columns = list(dict.fromkeys(key for row in rows for key in row))
        cells = [[shown(row.get(column)) for column in columns] for row in rows]
        parts += [f"## {part}", table([column.replace("_", " ") for column in columns], cells)]
    return document(parts)


def shown(value: Any) -> str:
    """A value in a table."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {count}" for key, count in sorted(value.items())) or "-"
    if isinstance(value, list):
        return ", ".join(number(one) for one in value)
    return value if isinstance(value, str) else number(value)
