"""`xrt predict` and `xrt evaluate` read a file as training read its own, or say why they do not."""

import gzip
import io
import json
import lzma
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

from xrt import XRLinear, cli
from xrt.data import Corpus, LabelTable
from xrt.predict import Predictor

ROWS = [("7", "red mug", "big, hot"), ("8", "blue lamp", "")]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    texts = ["red mug", "blue mug", "red lamp", "blue lamp"] * 8
    Y_NL = np.array([[word in text for word in ("red", "blue", "mug", "lamp")] for text in texts])
    labels = LabelTable.from_ids(["r", "b", "m", "l"])
    corpus = Corpus(texts=texts, Y=sp.csr_array(Y_NL.astype(np.float32)), labels=labels)
    return XRLinear().fit(corpus).save(tmp_path_factory.mktemp("model") / "m")


@pytest.fixture
def trained(model, monkeypatch):
    """Say how the model's training file was read."""
    predictor = Predictor.load(model)

    def trained(**dataset):
        configuration = {"dataset": {"trn": "trn.csv", **dataset}}
        monkeypatch.setitem(predictor.artifact.manifest, "configuration", configuration)
        monkeypatch.setattr(Predictor, "load", lambda *args, **options: predictor)

    trained(text_columns=["name", "about"], id_column="sku")
    return trained


@pytest.fixture
def predict(model, capsys):
    def predict(file, *options):
        code = cli.main(["predict", str(model), str(file), "-k", "2", *options])
        out, err = capsys.readouterr()
        if code:
            return err
        records = map(json.loads, out.removesuffix("\n").split("\n"))
        return [(record.get("id"), record["text"]) for record in records]

    return predict


def written(path, rows=ROWS):
    """The rows as a file of the kind that its name says."""
    names = ("sku", "name", "about")
    name = path.name.removesuffix(".gz").removesuffix(".xz")
    if name.endswith(".parquet"):
        pl.DataFrame(rows, schema=names, orient="row").write_parquet(path)
        return path
    if name.endswith(".jsonl"):
        text = "".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)
    elif name.endswith(".tsv"):
        text = "".join("\t".join(row) + "\n" for row in [names, *rows])
    else:
        text = "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in [names, *rows])
    pack = {".gz": gzip.compress, ".xz": lzma.compress}.get(path.suffix, bytes)
    path.write_bytes(pack(text.encode()))
    return path


EXPECTED = [("7", "red mug\nbig, hot"), ("8", "blue lamp")]


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(
    "name", ["p.csv", "p.tsv", "p.parquet", "p.jsonl", "p.csv.gz", "p.tsv.xz", "P.CSV", "p.txt"]
)
def test_a_table_is_read_by_the_columns_of_training(tmp_path, predict, name):
    assert predict(written(tmp_path / name)) == EXPECTED


@pytest.mark.usefixtures("trained")
def test_columns_can_be_named_anew(tmp_path, predict):
    path = written(tmp_path / "p.csv")
    options = ("--text-columns", "about", "--id-column", "name")
    assert predict(path, *options) == [("red mug", "big, hot"), ("blue lamp", "")]
    assert "no column 'ean' of ids" in predict(path, "--id-column", "ean")
    said = predict(path, "--text-columns", "body")
    assert "no text column body; the columns are sku, name, about" in said
    assert "--text-columns" in said


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(
    ("format", "name"),
    [("csv", "a.csv"), ("tsv", "a.tsv"), ("jsonl", "a.jsonl"), ("parquet", "a.parquet")],
)
def test_a_format_that_is_named_counts(tmp_path, predict, format, name):
    path = written(tmp_path / name).rename(tmp_path / "data")
    assert predict(path, "--format", format) == EXPECTED
    if format in ("jsonl", "parquet"):  # which the content tells
        assert predict(path) == EXPECTED
    if format == "csv":
        assert predict(path, "--format", "text")[0] == (None, '"sku","name","about"')


@pytest.mark.usefixtures("trained")
def test_a_file_without_the_id_of_training(tmp_path, predict):
    (tmp_path / "p.csv").write_text("id,name,about\n1,red,mug\n")
    assert predict(tmp_path / "p.csv") == [("1", "red\nmug")]
    (tmp_path / "p.csv").write_text("name,about\nred,mug\n")
    assert predict(tmp_path / "p.csv") == [(None, "red\nmug")]


def test_a_model_that_says_nothing_of_its_training(tmp_path, predict):
    (tmp_path / "p.csv").write_text("title,labels\nred mug,x\n")
    assert predict(tmp_path / "p.csv") == [(None, "red mug")]
    (tmp_path / "p.csv").write_text("name\nred mug\n")
    assert "no text column text, title, content; the columns are name" in predict(
        tmp_path / "p.csv"
    )


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ("red mug\nblue lamp\n", ["red mug", "blue lamp"]),
        ("sku,mug\nblue, lamp\n", ["sku,mug", "blue, lamp"]),
        ("\n\nred\n\nblue\n", ["", "", "red", "", "blue"]),
        ("\n\n", ["", ""]),
        ("[red] mug\n", ["[red] mug"]),
        ("10 20 30\nred: mug\n", ["10 20 30", "red: mug"]),
        ('\n \n{"name": "red"}\n\n{"name": "blue"}\n', ["red", "blue"]),
        ('\ufeff{"name": "red"}\n', ["red"]),
        ("\ufeffred\u2028mug\n", ["red\u2028mug"]),
    ],
)
def test_text_and_json_lines(tmp_path, predict, content, texts):
    (tmp_path / "p.txt").write_text(content)
    assert [text for _, text in predict(tmp_path / "p.txt")] == texts


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "p.json",
            b'[{"name": "red"},\n {"name": "blue"}]\n',
            "a JSON list; write one object a li",
        ),
        ("p.txt", b'[\n{"name": "red"}\n]\n', "a JSON list; write one object a line"),
        ("p.txt", b'\n\n["red", "blue"]\n', "line 3: a JSON list"),
        ("p.jsonl", b"\n\nred\n", "line 3: broken JSON"),
        ("p.csv", b"sku,name,about\n1,red\n", "line 2: 2 columns where the header has 3"),
        ("p.csv", b'sku,name,about\n1,"red,x\n', "line 2: a double quote is opened here and never"),
        ("p.csv", b"", "the file is empty"),
        ("p.csv", b"\xff\xfes\x00", "UTF-16"),
        ("p.csv", b"PK\x03\x04xl/", "packed with zip"),
        ("p.parquet", b"PAR1xxxx", "not a readable Parquet file"),
        ("p.txt", b"\xff\xfer\x00", "UTF-16"),
        ("p.txt", b"red\n\xff\n", "line 2: byte 1 is not UTF-8"),
        ("p.txt", b"2 9 3\n0,1 0:1 3:0.5\n2 1:1\n", "a bag of words"),
        ("X.tst.npz", b"PK\x03\x04", "rows of features, not texts"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_line(tmp_path, predict, name, content, said):
    (tmp_path / name).write_bytes(content)
    message = predict(tmp_path / name)
    assert said in message
    assert message.startswith("xrt: error: ")
    assert message.count("\n") == 1


def test_bad_lines_are_set_aside_where_training_did_or_where_asked(
    tmp_path, predict, trained, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.csv").write_text('sku,name,about\n1,red,mug\n2,"blue\\" x",y\n3,old,lamp\n')
    assert "backslash" in predict("p.csv")
    good = [("1", "red\nmug"), ("3", "old\nlamp")]
    assert predict("p.csv", "--skip-bad-lines") == good
    (bad,) = map(json.loads, Path("p.csv.bad-lines.jsonl").read_text().splitlines())
    assert bad["line"] == 3
    assert bad["content"] == '2,"blue\\" x",y'
    trained(text_columns=["name", "about"], skip_bad_lines=True)
    assert [text for _, text in predict("p.csv")] == ["red\nmug", "old\nlamp"]
    Path("p.jsonl").write_text('{"name": "red"}\n{\n{"name": "lamp"}\n')
    assert [text for _, text in predict("p.jsonl")] == ["red", "lamp"]


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(
    ("content", "options", "expected"),
    [
        ("name,about\nred,mug\n", (), [(None, "name,about"), (None, "red,mug")]),
        ("name,about\nred,mug\n", ("--format", "csv"), [(None, "red\nmug")]),
        ("\ufeffname\tabout\n\nred\tmug\n", ("--format", "tsv"), [(None, "red\nmug")]),
        ('\n{"name": "red"}\n', (), [(None, "red")]),
    ],
)
def test_standard_input(predict, monkeypatch, content, options, expected):
    stream = io.TextIOWrapper(io.BytesIO(content.encode()))
    monkeypatch.setattr(sys, "stdin", stream)
    assert predict("-", *options) == expected


@pytest.mark.usefixtures("trained")
def test_standard_input_is_no_parquet(predict):
    assert "--format parquet: standard input" in predict("-", "--format", "parquet")


@pytest.mark.usefixtures("trained")
def test_a_pipe_of_csv(tmp_path, predict):
    os.mkfifo(tmp_path / "pipe")
    command = f"printf 'name,about\\nred,mug\\n' > {tmp_path / 'pipe'}"
    with subprocess.Popen(command, shell=True):
        assert predict(tmp_path / "pipe", "--format", "csv") == [(None, "red\nmug")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "id,tags\nr,1\nm,2\n"),
        ("a.txt", "r\n\nm\n"),
        ("a.tsv", "\ufeff<r>\tRed\r\n m\u200b\tMug\r\n"),
    ],
)
def test_lists_of_allowed_labels(tmp_path, model, capsys, name, content):
    (tmp_path / name).write_text(content)
    (tmp_path / "p.txt").write_text("red mug\n")
    arguments = ["predict", str(model), str(tmp_path / "p.txt"), "--allowed", str(tmp_path / name)]
    assert cli.main(arguments) == 0
    found = json.loads(capsys.readouterr().out)["suggestions"]
    assert {suggestion["label"] for suggestion in found} == {"r", "m"}


@pytest.fixture
def evaluate(model, capsys):
    def evaluate(file, *options):
        code = cli.main(["evaluate", str(model), str(file), "-k", "2", "--json", *options])
        out, err = capsys.readouterr()
        return err if code else json.loads(out)

    return evaluate


def test_a_file_is_evaluated_as_training_read_its_own(tmp_path, trained, evaluate, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = "name|tags\nred mug|r/m\nblue lamp|b/l\n".replace("|", "\t")
    Path("tst.txt").write_text(good)
    trained(
        trn="trn.txt", format="tsv", text_columns=["name"], label_columns=["tags"],
        label_separator="/",
    )  # fmt: skip
    assert evaluate("tst.txt")["metrics"]["P@2"] == 1.0
    Path("tst.txt").write_text(good + "broken\n")
    said = evaluate("tst.txt")
    assert "line 4: 1 columns where the header has 2" in said
    assert "--skip-bad-lines" in said
    assert evaluate("tst.txt", "--skip-bad-lines")["metrics"]["P@2"] == 1.0
    trained(
        trn="trn.txt", format="tsv", text_columns=["name"], label_columns=["tags"],
        label_separator="/", skip_bad_lines=True, id_column="sku",
    )  # fmt: skip
    assert evaluate("tst.txt")["metrics"]["P@2"] == 1.0
    Path("tst.jsonl").write_text('{"name": "red mug", "tags": ["r", "m"]}\n')
    assert evaluate("tst.jsonl")["metrics"]["P@2"] == 1.0


def test_a_file_that_tells_nothing_is_read_as_training_did(tmp_path, trained, evaluate):
    path = tmp_path / "tst.data"
    path.write_text("text,labels\nred mug,r;m\n")
    trained(trn="trn.csv")
    assert evaluate(path)["metrics"]["P@2"] == 1.0
    trained(trn="trn.txt")
    said = evaluate(path)
    assert "fits no known format" in said
    assert "--format" in said
    assert evaluate(path, "--format", "csv")["metrics"]["P@2"] == 1.0


def test_reading_can_be_changed(tmp_path, trained, evaluate):
    path = tmp_path / "tst.csv"
    path.write_text("body,kinds,trust\nred mug,r|m,3\nblue lamp,r|m,1\n")
    trained(text_columns=["name"])
    options = ("--text-columns", "body", "--label-columns", "kinds", "--label-separator", "|")
    assert evaluate(path, *options)["metrics"]["P@2"] == 0.5
    weighted = evaluate(path, *options, "--weight-column", "trust")
    assert weighted["metrics"]["P@2"] == 0.75
    assert "--text-columns" in evaluate(path)
    assert "format 'nosuch' is unknown" in evaluate(path, "--format", "nosuch")
