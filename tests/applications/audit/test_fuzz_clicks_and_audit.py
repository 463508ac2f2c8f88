"""Click logs, catalogues and the files of an audit, made wrong in many ways: an error of ours or an
answer, and a corrected file that says what it should.
"""

import io
import json
import random
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.applications.audit.test_files import suggestion
from tests.mutations import bounded, mutants
from xrt.applications.audit.correction.applying import accepted
from xrt.applications.audit.correction.corrected_file import CorrectedFile
from xrt.applications.audit.correction.label_values import RowChange
from xrt.applications.audit.suggestions.suggestion import read_suggestions
from xrt.applications.audit.suggestions.trust import read_decisions
from xrt.applications.query_intent.catalogue import read_catalogue
from xrt.applications.query_intent.clicks.log import ClickLog
from xrt.applications.query_intent.clicks.partitions import Partitions
from xrt.data.corpus import Corpus
from xrt.data.formats import detect_format, read_corpus
from xrt.data.label_paths import read_label_paths
from xrt.data.labels import LabelTable, read_label_table
from xrt.data.options import ReadOptions
from xrt.errors import XrtError

COUNTS = [pytest.param(25, id="few"), pytest.param(2000, id="many", marks=pytest.mark.slow)]

CLICKS = pl.DataFrame(
    {
        "query": ["red pan", '50" tv', "blau, groß", '"quoted"', "café 🎈", "7"] * 4,
        "item": ["392", "7", "x1", "a b", "é", "392"] * 4,
        "count": [1, 2, 0, 5, 1, 3] * 4,
        "impressions": [10, None, 3, 5, 9, 4] * 4,
        "position": [1, 2, 3, None, 1000, 0] * 4,
    }
)
ITEMS = [
    {"id": id, "title": title, "labels": labels}
    for id, title, labels in (
        ("392", "Acme red pan", ["brand=Acme", "kind=Kitchen > Pans"]),
        ("7", 'Bolt 50" tv', ["brand=Bolt", "kind=Screens"]),
        ("x1", "blau groß", {"brand=Acme": 0.5}),
        ("é", "café", []),
    )
]


def packed(name: str) -> bytes:
    if name.endswith("parquet"):
        buffer = io.BytesIO()
        CLICKS.write_parquet(buffer)
        return buffer.getvalue()
    if name.endswith("jsonl"):
        return CLICKS.write_ndjson().encode()
    return CLICKS.write_csv(separator="\t" if name.endswith("tsv") else ",").encode()


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", ["c.csv", "c.tsv", "c.jsonl", "c.parquet"])
def test_click_logs(tmp_path: Path, name: str, count: int) -> None:
    path = tmp_path / name
    (tmp_path / "parts").mkdir()
    rng = random.Random(3)
    for number, mutant in enumerate(mutants(packed(name), count, 3)):
        path.write_bytes(mutant)
        with bounded(f"mutant {number}"):
            log = ClickLog(
                path, batch_rows=rng.choice((3, 1000)), max_count=1e9,
                skip_bad_lines=number % 3 > 0, bad_lines_folder=tmp_path,
            )  # fmt: skip
            if number % 20:
                num_rows = sum(map(len, log.batches()))
                assert num_rows + log.report.num_bad == log.report.num_rows
                continue
            log.batch_rows = 1000
            parts = Partitions(tmp_path / "parts")
            parts.fill(log, {"392": 0, "7": 1})
            assert sum(len(group.queries) for group in parts.groups(1000)) <= log.report.num_rows


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", ["i.csv", "i.tsv", "i.jsonl"])
def test_catalogues(tmp_path: Path, name: str, count: int) -> None:
    if name == "i.jsonl":
        content = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in ITEMS)
    else:
        mark = "\t" if name == "i.tsv" else ","
        rows = [[i["id"], f'"{i["title"]}"'.replace('50"', "50"), ";".join(i["labels"])]
                for i in ITEMS]  # fmt: skip
        content = "".join(mark.join(row) + "\n" for row in [["id", "title", "labels"], *rows])
    path = tmp_path / name
    for number, mutant in enumerate(mutants(content.encode() * 2, count, 4)):
        path.write_bytes(mutant)
        with bounded(f"mutant {number}"):
            read_catalogue(path)


def side_files() -> dict[str, tuple[bytes, Callable[[Path], Any]]]:
    decisions = "".join(
        json.dumps({"id": f"add:{n}:A", "accepted": n % 2 == 0, "note": "ä\u2028"}) + "\n"
        for n in range(6)
    )
    suggestions = [suggestion(n) for n in range(6)]
    lines = "".join(json.dumps(asdict(s)) + "\n" for s in suggestions)
    ids = "".join(f"{s.id}\n" for s in suggestions)
    table = LabelTable.from_ids([f"l{n}" for n in range(5)])
    paths = "l0\tA > B\nl1\tA\nl2\t\nl3\tÄ > b c > D\n"
    return {
        "decisions.jsonl": (decisions.encode(), read_decisions),
        "accepted.jsonl": (decisions.encode(), lambda path: accepted(suggestions, str(path))),
        "accepted.txt": (ids.encode(), lambda path: accepted(suggestions, str(path))),
        "suggestions.jsonl": (lines.encode(), read_suggestions),
        "paths.tsv": (paths.encode(), lambda path: read_label_paths(path, table)),
        "names.tsv": (paths.replace(" > ", " ").encode(), read_label_table),
    }


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", side_files())
def test_files_beside_a_corpus(tmp_path: Path, name: str, count: int) -> None:
    content, reader = side_files()[name]
    path = tmp_path / name
    for number, mutant in enumerate(mutants(content, count, 5)):
        path.write_bytes(mutant)
        with bounded(f"mutant {number}"):
            reader(path)


CORPORA = {
    "c.jsonl": b'{"id": 1, "title": "a b", "labels": ["A", "B"], "x": 1.10}\n'
    b'{"title": "c\\u00e9", "labels": {"A": 0.5, "C": 1}}\n{"title": "d", "labels": "B"}\n'
    b'{"title": "e", "n": [1, {"labels": 2}], "labels": []}\n{"labels": null, "title": "f"}\n',
    "c.csv": b'id,title,labels,x\n1,"a, b",A;B,1.10\n2,"c ""d"" e","B",\n3,f" g,,3\n'
    b'4,"two\nlines",C,4\n',
    "c.tsv": b'id\ttitle\tlabels\tx\n1\ta "b"\tA;B\t1.10\n2\t"c"\t"B"\t\n3\tf\t\t3\n4\tg h\tC\t4\n',
}  # fmt: skip


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", CORPORA)
def test_corrected_files(tmp_path: Path, name: str, count: int) -> None:
    """A changed file is read with other labels where it should be, and is else what it was."""
    path, out = tmp_path / name, tmp_path / f"new.{name[2:]}"
    rng = random.Random(6)
    reading: dict[str, Any] = {"skip_bad_lines": True, "bad_lines_folder": tmp_path}
    options = ReadOptions(require_labels=False)
    for number, mutant in enumerate(mutants(CORPORA[name], count, 6)):
        path.write_bytes(mutant)
        with bounded(f"mutant {number}"):
            try:
                corpus = read_corpus(path, require_labels=False, **reading)
                format = detect_format(path)
            except XrtError:
                continue
            if f".{format.value}" != path.suffix:
                continue
            changes = {
                row: random_change(corpus, row, rng)
                for row in range(corpus.num_instances) if rng.random() < 0.5
            }  # fmt: skip
            file = CorrectedFile(path, options, corpus, changes)
            file.write(out, format)
            assert not any(change.added for change in changes.values()) or (
                out.read_bytes() != mutant or file.left_out
            )
            new = read_corpus(out, require_labels=False, **reading)
            assert new.texts == corpus.texts
            assert new.ids == corpus.ids
            for row in range(corpus.num_instances):
                expected = labels_of(corpus, row)
                if row in changes:
                    expected = (expected - changes[row].removed) | changes[row].added.keys()
                left_out = {label for r, label in file.left_out if r == row}
                assert labels_of(new, row) == expected - left_out, f"mutant {number}, row {row}"
            if not changes:
                assert out.read_bytes() == mutant


def labels_of(corpus: Corpus, row: int) -> set[str]:
    columns = corpus.Y.indices[corpus.Y.indptr[row] : corpus.Y.indptr[row + 1]]
    return {corpus.labels.ids[column] for column in columns.tolist()}


def random_change(corpus: Corpus, row: int, rng: random.Random) -> RowChange:
    own = labels_of(corpus, row)
    others = sorted(set(corpus.labels.ids) - own)
    removed = {label for label in sorted(own) if rng.random() < 0.5}
    added = {label: 1.0 for label in rng.sample(others, min(len(others), rng.randrange(3)))}
    return RowChange(added, removed)
