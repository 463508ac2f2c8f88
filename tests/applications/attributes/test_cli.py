"""The command line on a model of attributes: a stand-in answers."""

import csv

import pytest

from tests.attribute_stand_in import StandInPredictor
from xrt import cli
from xrt.applications.attributes.predictor import AttributePredictor


@pytest.fixture
def model(tmp_path, monkeypatch) -> str:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "attributes.json").write_text("{}")
    monkeypatch.setattr(
        AttributePredictor, "load", lambda folder, compute="auto", expect=None: StandInPredictor()
    )
    return str(tmp_path / "model")


@pytest.fixture
def catalogue(tmp_path) -> str:
    rows = ["title,brand,L0,L1", "nike court 9,,shoe,", "puma cap 8,nike,hat,cap"]
    rows += ["asics running 4,asics,,", "plain 7,reebok,hat,"]
    (tmp_path / "in.csv").write_text("\n".join(rows) + "\n")
    return str(tmp_path / "in.csv")


def test_a_catalogue_is_filled(model, catalogue, tmp_path, capsys):
    out, review = tmp_path / "out.csv", tmp_path / "doubts.csv"
    arguments = [catalogue, "--out", str(out), "--review", str(review), "--min-score", "0.5"]
    assert cli.main(["predict", model, *arguments]) == 0
    output = capsys.readouterr()
    assert output.out == ""
    assert "4 rows written to" in output.err
    assert output.err.rstrip().splitlines()[-1].startswith("next: look through 2 disagreements in")
    with open(out, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["brand"] for row in rows] == ["nike", "nike", "asics", "reebok"]
    assert [row["L0"] for row in rows] == ["shoe", "hat", "", "hat"]
    with open(review, newline="") as file:
        assert [row["given"] for row in csv.DictReader(file)] == ["nike", "reebok"]


def test_overwrite_is_asked_for(model, catalogue, tmp_path):
    out = tmp_path / "out.csv"
    assert cli.main(["predict", model, catalogue, "--out", str(out), "--overwrite"]) == 0
    with open(out, newline="") as file:
        assert [row["brand"] for row in csv.DictReader(file)] == ["nike", "puma", "asics", ""]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give its file and --out FILE"),
        (["in.csv"], "give its file and --out FILE"),
        (["in.csv", "--out", "o.csv", "--tail", "0.5"], "--tail: not for a model of attributes"),
        (["in.csv", "--out", "o.csv", "--allowed", "x"], "--allowed: not for a model"),
        (["in.csv", "--out", "o.csv", "--min-score", "micro-F1"], "takes a probability, 0 to 1"),
        (["in.csv", "--out", "o.xlsx"], "rows are written to .csv"),
    ],
)
def test_options_that_do_not_fit(model, options, message, capsys):
    assert cli.main(["predict", model, *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("way", ["row", "each"])
def test_the_way_of_decoding_reaches_the_model(way, model, catalogue, tmp_path, monkeypatch):
    settings_seen = []

    def load(folder, compute="auto", expect=None, **settings):
        settings_seen.append(settings)
        return StandInPredictor()

    monkeypatch.setattr(AttributePredictor, "load", load)
    out = str(tmp_path / "out.csv")
    assert cli.main(["predict", model, catalogue, "--out", out, "--decode", way]) == 0
    assert cli.main(["predict", model, catalogue, "--out", out]) == 0
    assert settings_seen == [{"decode": way}, {}]


def test_an_unknown_way_of_decoding_is_refused(model, catalogue, tmp_path, capsys):
    out = str(tmp_path / "out.csv")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["predict", model, catalogue, "--out", out, "--decode", "both"])
    assert stopped.value.code == 2
    assert "row" in capsys.readouterr().err


def test_a_model_of_labels_does_not_decode(tmp_path, capsys):
    (tmp_path / "labels").mkdir()
    (tmp_path / "in.txt").write_text("a text\n")
    arguments = ["predict", str(tmp_path / "labels"), str(tmp_path / "in.txt"), "--decode", "each"]
    assert cli.main(arguments) == 2
    assert "--decode" in capsys.readouterr().err


def test_a_model_of_labels_has_no_review(tmp_path, capsys):
    for option in (["--review", "r.jsonl"], ["--overwrite"]):
        assert cli.main(["predict", str(tmp_path), "in.txt", *option]) == 2
        assert "is a model of labels" in capsys.readouterr().err


def test_a_file_is_read_as_asked(model, catalogue, tmp_path, capsys):
    (tmp_path / "in.txt").write_text("title,brand\nnike cap 9,\nbroken\n")
    arguments = ["predict", model, str(tmp_path / "in.txt"), "--out", str(tmp_path / "out.csv")]
    assert cli.main(arguments) == 2
    assert "fits no known format" in capsys.readouterr().err
    assert cli.main([*arguments, "--format", "csv"]) == 2
    output = capsys.readouterr().err
    assert "in.txt: line 3: 1 column" in output
    assert "--skip-bad-lines" in output
    assert cli.main([*arguments, "--format", "csv", "--skip-bad-lines"]) == 0
    assert "1 bad lines were skipped and written to" in capsys.readouterr().err
    assert (tmp_path / "in.txt.bad-lines.jsonl").is_file()


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        ("predict", ["--out", "o.csv", "-k", "3"], "-k: not for a model of attributes"),
        ("predict", ["--out", "o.csv", "--batch-size", "8"], "--batch-size: not for a model"),
        ("predict", ["--out", "o.csv", "--format", "text"], "'text': no format of a catalogue"),
        ("evaluate", ["-k", "3"], "-k: not for a model of attributes"),
    ],
)
def test_options_without_effect_are_refused(model, catalogue, command, options, message, capsys):
    assert cli.main([command, model, catalogue, *options]) == 2
    assert message in capsys.readouterr().err
