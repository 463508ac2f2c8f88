"""`xrt audit apply` changes label cells and nothing else, whatever the file's format."""

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from xrt.applications.audit.correction.applying import DOUBTED_CONFIDENCE
from xrt.applications.audit.suggestions.suggestion import (
    ADD,
    REMOVE,
    SuggestedChange,
    corpus_key,
    write_suggestions,
)
from xrt.cli import main
from xrt.data.formats import read_corpus


def suggest(key: str, row: int, kind: str, label: str, score: float = 0.95) -> SuggestedChange:
    return SuggestedChange(
        id=f"{kind}:{row}:{label}", kind=kind, corpus=key, row=row, uid=None, text=None,
        label=label, name="", score=score, probability=0.5, linear_probability=0.5, threshold=0.4,
        rank=1, agreement=0.5, similarity=0.5, name_in_text=0.0, label_rows=5,
    )  # fmt: skip


class Case:
    """A file, the changes to make in it, and what comes out."""

    def __init__(self, folder: Path, name: str, data: bytes | str) -> None:
        self.path, self.out = folder / name, folder / f"new.{name.partition('.')[2]}"
        self.path.write_bytes(data if isinstance(data, bytes) else data.encode())
        self.folder = folder

    def apply(self, changes: list[tuple[int, str, str]], *options: str, **reading: Any) -> int:
        corpus = read_corpus(self.path, require_labels=False, **reading)
        key = corpus_key(corpus)
        write_suggestions(self.folder / "s.jsonl", [suggest(key, *change) for change in changes])
        return main(
            ["audit", "apply", str(self.folder / "s.jsonl"), "--corpus", str(self.path),
             "--out", str(self.out), *options]
        )  # fmt: skip

    def changes(self) -> list[tuple[int, str, str]]:
        lines = (self.out.parent / f"{self.out.name}.changes.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        return [(record["row"], record["change"], record["label"]) for record in records]


JSON_LINES = [
    '{"id": 7, "title": "a", "content": "b", "price": 1.10, "labels": ["A", "B"], "trust": 1e0}',
    '  {"trust":2.50,"labels":["B"],"title":"caf\\u00e9","big":12345678901234567890,"price":-0.0}',
    '{"title": "café", "labels": {"A": 0.50, "B": 1}, "note": "two\u2028lines"}',
    "",
    '{"title": "one", "labels": "A", "a": {"labels": ["Z"]}, "labels": "B"}',
    '{"title": "none"}',
    '{"title": "null", "labels": null }',
    '{"title": "numbers", "labels": [1, 2]}\r',
]


def test_lines_of_json_keep_all_but_their_labels(tmp_path: Path) -> None:
    case = Case(tmp_path, "c.jsonl", "\ufeff" + "\n".join(JSON_LINES))
    changes = [
        (0, REMOVE, "A"), (1, ADD, "A"), (2, ADD, "1"), (2, REMOVE, "B"), (3, ADD, "A"),
        (4, ADD, "B"), (5, ADD, "B"), (6, ADD, "A"), (6, REMOVE, "1"),
    ]  # fmt: skip
    assert case.apply(changes) == 0
    expected = [
        JSON_LINES[0].replace('["A", "B"]', '["B"]'),
        JSON_LINES[1].replace('["B"]', '["B","A"]'),
        JSON_LINES[2].replace('{"A": 0.50, "B": 1}', '{"A": 0.5, "1": 1}'),
        "",
        JSON_LINES[4].replace('"labels": "B"}', '"labels": ["B", "A"]}'),
        '{"title": "none", "labels": ["B"]}',
        JSON_LINES[6].replace("null }", '["B"] }'),
        '{"title": "numbers", "labels": [2, "A"]}\r',
    ]
    assert case.out.read_bytes() == ("\ufeff" + "\n".join(expected)).encode()
    assert case.changes() == changes


def test_soft_changes_of_json_are_weights(tmp_path: Path) -> None:
    case = Case(tmp_path, "c.jsonl", "\n".join(JSON_LINES))
    assert case.apply([(0, REMOVE, "A"), (1, ADD, "A"), (2, REMOVE, "A")], "--accept", "soft") == 0
    lines = case.out.read_bytes().decode().split("\n")
    assert lines[0] == JSON_LINES[0].replace('["A", "B"]', f'{{"A": {DOUBTED_CONFIDENCE}, "B": 1}}')
    assert lines[1] == JSON_LINES[1].replace('["B"]', '{"B":1,"A":0.9025}')
    assert lines[2] == JSON_LINES[2].replace('"A": 0.50', '"A": 0.15')
    assert lines[3:] == JSON_LINES[3:]


def test_bad_lines_stay_where_they_are(tmp_path: Path) -> None:
    lines = ['{"title": "a", "labels": ["A"]}', "{broken", '{"title": "b", "labels": ["B"]}', "7"]
    case = Case(tmp_path, "c.jsonl", "\n".join(lines) + "\n")
    assert (
        case.apply(
            [(1, ADD, "A")], "--skip-bad-lines", skip_bad_lines=True, bad_lines_folder=tmp_path
        )
        == 0
    )
    lines[2] = '{"title": "b", "labels": ["B", "A"]}'
    assert case.out.read_text() == "\n".join(lines) + "\n"


CSV = (
    'sep=;\r\n\r\nid;title;"labels";price\r\n'
    '1;"two\r\nlines, ""quoted""";A,B;1.10\r\n'
    '2;"x";"B";007\r\n'
    "\r\n"
    '3;y" z;;3\r\n'
    "bad row\r\n"
    "4; w ; A , B ;"
)


def test_rows_of_csv_keep_all_but_their_labels(tmp_path: Path) -> None:
    case = Case(tmp_path, "c.csv", "\ufeff" + CSV)
    reading = {"label_separator": ",", "skip_bad_lines": True, "bad_lines_folder": tmp_path}
    changes = [(0, REMOVE, "A"), (1, ADD, "A"), (2, ADD, "B"), (3, REMOVE, "B")]
    options = ("--label-separator", ",", "--skip-bad-lines")
    assert case.apply(changes, *options, **reading) == 0
    expected = (
        CSV.replace("A,B;1.10", "B;1.10").replace('"B";007', '"B,A";007')
        .replace('z;;3', "z;B;3").replace("; A , B ;", ";A;")
    )  # fmt: skip
    assert case.out.read_bytes() == ("\ufeff" + expected).encode()
    assert case.changes() == changes
    corpus = read_corpus(case.out, **reading)
    assert corpus.num_instances == 4
    assert corpus.Y.nnz == 5


def test_several_label_columns_get_their_own_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "title,brand,colour,n\na,Acme,red,1.0\nb, Bolt ,,2\nc,,red,3\n"
    case = Case(tmp_path, "c.csv", text)
    changes = [
        (0, REMOVE, "brand=Acme"), (0, ADD, "brand=Bolt"), (1, ADD, "colour=red"),
        (1, ADD, "brand=Acme"), (2, REMOVE, "colour=red"),
    ]  # fmt: skip
    columns = ["brand", "colour"]
    assert case.apply(changes, "--label-columns", *columns, label_column=columns) == 0
    assert case.out.read_text() == text.replace("Acme,red", "Bolt,red").replace(
        " Bolt ,,", " Bolt ,red,"
    ).replace("c,,red", "c,,")
    assert (1, ADD, "brand=Acme") not in case.changes()
    assert len(case.changes()) == 4
    assert "1 labels were not added, for their cell holds one label" in capsys.readouterr().err


def test_rows_of_tsv_keep_all_but_their_labels(tmp_path: Path) -> None:
    text = '\ntitle\tlabels\tx\n"a\tA;B\t"q"\n"b"\t"A"\t2\r\nc"\t\t3'
    case = Case(tmp_path, "c.tsv", text)
    assert case.apply([(0, REMOVE, "B"), (1, ADD, "B"), (2, ADD, "A")]) == 0
    assert case.out.read_bytes().decode() == (
        '\ntitle\tlabels\tx\n"a\tA\t"q"\n"b"\tA;B\t2\r\nc"\tA\t3'
    )


def test_packed_files_are_packed_again(tmp_path: Path) -> None:
    lines = ['{"title": "a", "labels": ["A"], "x": 1.0}', '{"title": "b", "labels": ["B"]}']
    case = Case(tmp_path, "c.jsonl.gz", gzip.compress("\n".join(lines).encode()))
    assert case.apply([(0, ADD, "B")]) == 0
    text = gzip.decompress(case.out.read_bytes()).decode()
    assert text.split("\n") == ['{"title": "a", "labels": ["A", "B"], "x": 1.0}', lines[1]]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pl.Series([["A", "B"], [], None, ["B"]]), [["B"], ["A"], ["A"], ["B"]]),
        (pl.Series(["A;B", "", None, "B"]), ["B", "A", "A", "B"]),
        (pl.Series(["A", "", None, "B"], dtype=pl.Categorical), ["", "A", "A", "B"]),
        (pl.Series([["A", "B"], ["B"], ["B"], ["B"]], dtype=pl.List(pl.Categorical)),
         [["B"], ["B", "A"], ["B", "A"], ["B"]]),
    ],
)  # fmt: skip
def test_parquet_keeps_columns_and_types(
    tmp_path: Path, column: pl.Series, expected: list[Any]
) -> None:
    frame = pl.DataFrame(
        {"price": [1.1, None, 3.0, 4.0], "labels": column, "title": ["a", "b", "c", "d"],
         "raw": [b"x", b"y", None, b""], "when": pl.Series([1, 2, 3, 4]).cast(pl.Date)}
    )  # fmt: skip
    frame.write_parquet(tmp_path / "c.parquet", metadata={"made by": "hand"})
    case = Case(tmp_path, "c.parquet", (tmp_path / "c.parquet").read_bytes())
    assert case.apply([(0, REMOVE, "A"), (1, ADD, "A"), (2, ADD, "A")]) == 0
    new = pl.read_parquet(case.out)
    assert new.schema == frame.schema
    assert new.drop("labels").equals(frame.drop("labels"))
    assert new["labels"].to_list() == expected
    assert pl.read_parquet_metadata(case.out)["made by"] == "hand"


def test_numbers_stay_numbers_in_parquet(tmp_path: Path) -> None:
    frame = pl.DataFrame({"title": ["a", "b", "c"], "labels": [[1, 2], [2], [2]]})
    frame.write_parquet(tmp_path / "c.parquet")
    case = Case(tmp_path, "c.parquet", (tmp_path / "c.parquet").read_bytes())
    assert case.apply([(0, REMOVE, "1"), (1, ADD, "1")]) == 0
    assert pl.read_parquet(case.out).equals(
        frame.with_columns(labels=pl.Series([[2], [2, 1], [2]]))
    )


def test_another_format_is_written_anew_and_what_is_left_out_is_told_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = Case(tmp_path, "c.csv", "id,title,labels,price\n1,a,A,2\n2,b,B,3\n")
    case.out = tmp_path / "new.jsonl"
    assert case.apply([(0, ADD, "B")]) == 0
    assert "is written anew as jsonl: only text, labels, ids and weights" in capsys.readouterr().err
    assert json.loads(case.out.read_text().splitlines()[0]) == {
        "uid": "1", "text": "a", "labels": ["A", "B"],
    }  # fmt: skip


@pytest.mark.parametrize("name", ["c.csv", "c.tsv"])
def test_formats_without_weights_refuse_soft_changes(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = "," if name == "c.csv" else "\t"
    case = Case(tmp_path, name, f"title{mark}labels\na{mark}A\nb{mark}B\n")
    assert case.apply([(0, ADD, "B")], "--accept", "soft") == 2
    assert "holds no weights of labels; name a file .jsonl" in capsys.readouterr().err
    assert not case.out.exists()


def test_a_suggestion_about_a_row_or_label_that_is_not_there_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = Case(tmp_path, "c.jsonl", '{"title": "a", "labels": ["A"]}\n')
    for change in ((7, ADD, "A"), (0, ADD, "Z")):
        assert case.apply([change]) == 2
        assert "lacks one of them: audit it anew" in capsys.readouterr().err


def test_audit_and_apply_read_as_training_does_and_so_does_what_comes_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("red", "green", "blue")
    rows = [
        f"s{n},a {words[n % 3]} thing {n % 7},{words[n % 3]}|x{n % 2},{1 + n % 2}"
        for n in range(24)
    ]
    rows.insert(5, "broken")
    path = tmp_path / "rows.data"
    path.write_text("\n".join(["sku,name,tags,trust", *rows]))
    reading = ["--format", "csv", "--text-columns", "name", "--label-columns", "tags",
               "--label-separator", "|", "--id-column", "sku", "--weight-column", "trust",
               "--skip-bad-lines"]  # fmt: skip
    folder = tmp_path / "audit"
    options = ["--folds", "2", "--neighbours", "2", "--min-label-rows", "2"]
    assert main(["audit", str(path), "--out", str(folder), *options, *reading]) == 0
    assert "1 bad lines skipped, written to" in capsys.readouterr().err
    assert (folder / "rows.data.bad-lines.jsonl").exists()
    corpus = read_corpus(
        path, format="csv", text_columns="name", label_column="tags", label_separator="|",
        id_column="sku", weight_column="trust", skip_bad_lines=True, bad_lines_folder=tmp_path,
    )  # fmt: skip
    changes = [
        suggest(corpus_key(corpus), 20, ADD, "red"),
        suggest(corpus_key(corpus), 0, ADD, "x1"),
    ]
    write_suggestions(tmp_path / "s.jsonl", changes)
    out = tmp_path / "out" / "rows.data"
    arguments = ["audit", "apply", str(tmp_path / "s.jsonl"), "--corpus", str(path)]
    assert main([*arguments, "--out", str(out), *reading]) == 0
    old, new = path.read_text().splitlines(), out.read_text().splitlines()
    assert [n for n in range(26) if old[n] != new[n]] == [1, 22]
    assert new[1] == old[1].replace("red|x0", "red|x0|x1")
    assert new[22] == old[22].replace("blue|x0", "blue|x0|red")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("_L\tname\n", "none of its 1 ids is among the 2 labels"),
        ("A\tone\nA\ttwo\n", "line 2: label 'A'"),
        (b"A\t\xff\n", "line 1: not UTF-8"),
        ("\tname\n", "line 1: no id"),
    ],
)
def test_names_that_fit_nothing_are_refused(
    tmp_path: Path, labels: bytes | str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, names = tmp_path / "c.jsonl", tmp_path / "names.tsv"
    path.write_text('{"title": "a", "labels": ["A"]}\n{"title": "b", "labels": ["B"]}\n')
    names.write_bytes(labels if isinstance(labels, bytes) else labels.encode())
    for option in ("--labels", "--paths"):
        if option == "--paths" and message.startswith("line 2"):
            continue
        arguments = ["audit", str(path), "--out", str(tmp_path / "audit"), option, str(names)]
        assert main(arguments) == 2
        assert message in capsys.readouterr().err
