"""`xrt audit` on a small corpus whose damage is known, and what is done with its suggestions."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.small_corpora import make_rows, write_rows
from xrt.applications.audit.audit_params import AuditParams
from xrt.applications.audit.auditing import audit
from xrt.applications.audit.correction.applying import (
    DOUBTED_CONFIDENCE,
    SOFT_ADDITIONS,
    SOFT_REMOVALS,
    accepted,
    apply_suggestions,
)
from xrt.applications.audit.self_test import damage, ranked_recovery, self_test
from xrt.applications.audit.suggestions.suggestion import (
    ADD,
    REMOVE,
    SuggestedChange,
    read_suggestions,
    write_suggestions,
)
from xrt.applications.audit.suggestions.trust import with_trust
from xrt.cli import main
from xrt.data.corpus import Corpus
from xrt.data.formats import read_corpus
from xrt.errors import DataError

PARAMS = AuditParams(folds=3, neighbours=5, num_threads=1)
OUTPUTS = ("suggestions.jsonl", "suggestions.parquet", "report.json", "report.html")


@pytest.fixture(scope="module")
def corpus_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 rows in which a label is a word of the text; row 500 lacks a label that its text says
    four times, row 501 has one that nothing speaks for.
    """
    folder = tmp_path_factory.mktemp("corpus")
    rows = make_rows(600, 0)
    for row in rows:  # every label is said, unlike in make_rows
        row["title"] = " ".join([*(label.lower() for label in row["labels"]), "the", "and"])
    rows[500] = {"title": "kare kare kare kare lore", "labels": ["LORE"]}
    rows[501] = {"title": "mire mire mire mire", "labels": ["MIRE", "NUTI"]}
    (folder / "labels.tsv").write_text(
        "".join(f"{word.upper()}\t{word}\n" for word in sorted({w for r in rows for w in
                 [label.lower() for label in r["labels"]]}))
    )  # fmt: skip
    return write_rows(folder / "trn.jsonl", rows)


@pytest.fixture(scope="module")
def corpus(corpus_file: Path) -> Corpus:
    return read_corpus(corpus_file)


@pytest.fixture(scope="module")
def audited(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit")
    audit(corpus, folder, PARAMS)
    return folder


def hashes(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in OUTPUTS}


def test_the_missing_and_the_wrong_label_are_suggested(audited: Path) -> None:
    suggestions = {s.id: s for s in read_suggestions(audited / "suggestions.jsonl")}
    missing, wrong = suggestions["add:500:KARE"], suggestions["remove:501:NUTI"]
    assert missing.matched_terms == ("kare",)
    assert missing.name_in_text == 1.0
    assert missing.probability >= missing.threshold
    assert not wrong.matched_terms
    assert wrong.probability < 0.1
    assert len(missing.neighbours) == 5
    assert "remove:500:LORE" not in suggestions
    report = json.loads((audited / "report.json").read_text())
    kinds = [s.kind for s in suggestions.values()]
    assert report["suggestions"]["missing"]["found"] == kinds.count(ADD)
    assert "Labels that may be missing" in (audited / "report.html").read_text()


def test_the_best_suggestions_come_first_and_the_table_says_the_same(audited: Path) -> None:
    import polars as pl

    suggestions = read_suggestions(audited / "suggestions.jsonl")
    for kind in (ADD, REMOVE):
        scores = [s.score for s in suggestions if s.kind == kind]
        assert scores == sorted(scores, reverse=True)
    table = pl.read_parquet(audited / "suggestions.parquet")
    assert table["id"].to_list() == [s.id for s in suggestions]
    assert table["score"].to_list() == [s.score for s in suggestions]


def test_a_second_run_and_more_threads_write_the_same_bytes(
    corpus: Corpus, audited: Path, tmp_path: Path
) -> None:
    before = hashes(audited)
    trained = (audited / "stages" / "fold-1" / "done.json").stat().st_mtime_ns
    audit(corpus, audited, PARAMS)
    assert hashes(audited) == before
    assert (audited / "stages" / "fold-1" / "done.json").stat().st_mtime_ns == trained
    audit(corpus, tmp_path, replace(PARAMS, num_threads=3))
    told = {name: value for name, value in hashes(tmp_path).items() if "suggestions" in name}
    assert told == {name: before[name] for name in told}


def test_after_apply_nothing_of_the_same_is_found(
    corpus_file: Path, audited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = corpus_file.read_bytes()
    (tmp_path / "ids.txt").write_text("add:500:KARE\nremove:501:NUTI\n")
    out = tmp_path / "corrected.jsonl"
    arguments = ["audit", "apply", str(audited / "suggestions.jsonl"), "--corpus", str(corpus_file)]
    arguments += ["--out", str(out), "--accept", str(tmp_path / "ids.txt")]
    assert main(arguments) == 0
    assert "1 labels added, 1 removed" in capsys.readouterr().out
    assert corpus_file.read_bytes() == before
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert sorted(rows[500]["labels"]) == ["KARE", "LORE"]
    assert rows[501]["labels"] == ["MIRE"]
    lines = (tmp_path / "corrected.jsonl.changes.jsonl").read_text().splitlines()
    record = [json.loads(line) for line in lines]
    assert [(r["change"], r["row"], r["label"]) for r in record] == [
        ("add", 500, "KARE"), ("remove", 501, "NUTI"),
    ]  # fmt: skip
    audit(read_corpus(out), tmp_path / "again", PARAMS)
    again = {s.id for s in read_suggestions(tmp_path / "again" / "suggestions.jsonl")}
    assert not again & {"add:500:KARE", "remove:501:NUTI", "remove:500:KARE", "add:501:NUTI"}


def test_soft_apply_writes_doubts_as_confidences(
    corpus: Corpus, corpus_file: Path, audited: Path, tmp_path: Path
) -> None:
    out, given = tmp_path / "soft.jsonl", audited / "suggestions.jsonl"
    arguments = ["audit", "apply", str(given), "--corpus", str(corpus_file), "--out", str(out)]
    assert main([*arguments, "--accept", "soft"]) == 0
    soft = read_corpus(out)
    suggestions = read_suggestions(given)
    heard = {
        (s.row, s.label): s.score**2 if s.kind == "add" else DOUBTED_CONFIDENCE
        for s in suggestions
        if s.score >= (SOFT_ADDITIONS if s.kind == "add" else SOFT_REMOVALS)
    }
    assert {"add", "remove"} == {s.kind for s in suggestions if (s.row, s.label) in heard}
    before, after = (
        {
            (row, c.labels.ids[column]): float(c.Y[row, column])
            for row, column in zip(*c.Y.nonzero(), strict=True)
        }
        for c in (corpus, soft)
    )
    assert set(after) == set(before) | set(heard)
    for cell, confidence in after.items():
        assert confidence == pytest.approx(heard.get(cell, before.get(cell)), abs=1e-5)


def test_self_test_tells_what_was_found_and_won_back(corpus: Corpus, tmp_path: Path) -> None:
    told = self_test(corpus, tmp_path, PARAMS, [0.1])
    assert [record["by_frequency"] for record in told] == [False, True]
    for record in told:
        assert record["add"]["damage"] > 0
        assert 0 <= record["add"]["average_precision"] <= 1
        assert set(record["P@5"]) == {"clean", "damaged", "repaired", "softened"}
    assert not list(tmp_path.iterdir())  # the work of each round is gone


def test_suggestions_of_another_corpus_are_refused(
    corpus: Corpus, audited: Path, tmp_path: Path
) -> None:
    suggestions = read_suggestions(audited / "suggestions.jsonl")
    other = corpus.subset(np.arange(1, 600))
    with pytest.raises(DataError, match="made for another corpus"):
        apply_suggestions(other, suggestions)


def test_apply_never_writes_over_what_it_reads(
    corpus_file: Path, audited: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = str(audited / "suggestions.jsonl")
    arguments = ["audit", "apply", given, "--corpus", str(corpus_file), "--out", str(corpus_file)]
    assert main(arguments) == 2
    assert "is a file that is read" in capsys.readouterr().err


def test_a_corpus_without_names_and_rows_without_labels_are_told(
    corpus: Corpus, tmp_path: Path
) -> None:
    from xrt.data.labels import LabelTable

    bare = replace(corpus, labels=LabelTable.from_ids(corpus.labels.ids))
    Y_NL = bare.Y.copy()
    Y_NL.data[Y_NL.indptr[599] : Y_NL.indptr[600]] = 0
    Y_NL.eliminate_zeros()
    report = audit(replace(bare, Y=Y_NL), tmp_path, PARAMS)
    notes = " ".join(report["corpus"]["notes"])
    assert "no label has a name" in notes
    assert "1 rows have no label" in notes
    suggestions = read_suggestions(tmp_path / "suggestions.jsonl")
    assert suggestions
    assert all(s.name_in_text == 0 for s in suggestions)


def test_rows_of_features_are_audited_too(corpus: Corpus, tmp_path: Path) -> None:
    from xrt.features.tfidf import TfidfFeatures

    X_NF = TfidfFeatures().fit_transform(corpus.texts)
    report = audit(replace(corpus, texts=None, X=X_NF), tmp_path, PARAMS)
    assert "rows of features" in " ".join(report["corpus"]["notes"])
    assert (tmp_path / "suggestions.jsonl").stat().st_size > 0


def test_duplicates_leakage_and_similar_labels_are_told(tmp_path: Path) -> None:
    rows = make_rows(300, 1)
    rows[10] = {"title": "Kare, lore mire!", "labels": ["KARE"]}
    rows[200] = {"title": "kare  LORE mire", "labels": ["LORE"]}
    for row in rows:  # TWIN is given wherever KAREX is
        row["labels"] += ["TWIN"] if "KAREX" in row["labels"] else []
    corpus = read_corpus(write_rows(tmp_path / "trn.jsonl", rows))
    tst = [{"title": "kare lore MIRE", "labels": ["KARE"]}, {"title": "zzz", "labels": ["KARE"]}]
    test = read_corpus(write_rows(tmp_path / "tst.jsonl", tst), labels=corpus.labels)
    report = audit(corpus, tmp_path / "audit", PARAMS, test=test)
    examples = {tuple(e["rows"]) for e in report["duplicate_rows"]["exact"]["examples"]}
    assert (10, 200) in examples
    assert (report["leakage"]["exact"], report["leakage"]["test_rows"]) == (1, 2)
    assert report["leakage"]["examples"][0]["row"] == 10
    twins = [pair for pair in report["similar_labels"] if set(pair["labels"]) == {"KAREX", "TWIN"}]
    assert twins[0]["shared_rows"] == 1.0
    assert report["labels"]["unused"]["count"] == 0


def taxonomy_corpus(tmp_path: Path) -> Corpus:
    rows: list[dict[str, Any]] = []
    for n in range(60):
        child = ("A > x", "A > y", "B > z")[n % 3]
        rows.append({"title": f"word{n % 3} more{n % 7}", "labels": [child, child[0]]})
    rows[0]["labels"] = ["A > x"]  # its ancestor is missing
    rows[1]["labels"] = ["A > y", "A", "B"]  # two branches
    return read_corpus(write_rows(tmp_path / "trn.jsonl", rows))


def test_labels_that_do_not_agree_with_their_paths_are_told(tmp_path: Path) -> None:
    from xrt.applications.audit.evidence.hierarchy import hierarchy_report, paths_of_labels

    corpus = taxonomy_corpus(tmp_path)
    paths = paths_of_labels(corpus)
    assert paths is not None
    found = hierarchy_report(
        corpus, [path or (corpus.labels.ids[i],) for i, path in enumerate(paths)]
    )
    assert found["missing_ancestors"]["examples"] == [{"row": 0, "label": "A"}]
    assert [e["row"] for e in found["several_branches"]["examples"]] == [1]
    assert found["redundant_ancestors"]["count"] == 0


def test_unknown_labels_of_a_paths_file_are_counted(tmp_path: Path) -> None:
    corpus = taxonomy_corpus(tmp_path)
    (tmp_path / "paths.tsv").write_text("A > x\tA\nnowhere\tA > B\n")
    from xrt.applications.audit.evidence.hierarchy import unknown_labels

    assert unknown_labels(corpus, str(tmp_path / "paths.tsv")) == ["nowhere"]
    (tmp_path / "alike.tsv").write_text("\u200b A >  x \tA\n<A>\t\n")
    assert unknown_labels(corpus, str(tmp_path / "alike.tsv")) == []
    (tmp_path / "none.tsv").write_text("nowhere\tA\n")
    with pytest.raises(DataError, match="none of its 1 ids is among the 5 labels"):
        audit(corpus, tmp_path / "audit", PARAMS, paths=str(tmp_path / "none.tsv"))


def test_one_label_and_too_many_folds_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"title": f"text {n}", "labels": ["A"]} for n in range(5)]
    one = write_rows(tmp_path / "one.jsonl", rows)
    assert main(["audit", str(one), "--out", str(tmp_path / "out")]) == 2
    assert "only one distinct label" in capsys.readouterr().err
    rows[0]["labels"] = ["B"]
    few = write_rows(tmp_path / "few.jsonl", [*rows, rows[1]])
    assert main(["audit", str(few), "--out", str(tmp_path / "out"), "--folds", "6"]) == 2
    assert "6 folds of 5 different rows" in capsys.readouterr().err


def some_suggestions(num: int) -> list[SuggestedChange]:
    return [
        SuggestedChange(
            id=f"add:{n}:A", kind=ADD, corpus="0" * 16, row=n, uid=None, text="x", label="A",
            name="a", score=1 - n / num, probability=0.5, linear_probability=0.5, threshold=0.4,
            rank=1, agreement=(n % 2) * 0.9, similarity=0.5, name_in_text=0.0, label_rows=5,
        )
        for n in range(num)
    ]  # fmt: skip


def test_decisions_teach_which_evidence_to_trust() -> None:
    suggestions = some_suggestions(60)
    decided = {s.id: s.agreement > 0.5 for s in suggestions[:30]}
    ranked, told = with_trust(suggestions, decided)
    assert told[ADD]["learnt"]
    assert told[ADD]["weights"]["agreement"] > 1
    assert abs(told[ADD]["weights"]["score"]) < told[ADD]["weights"]["agreement"]
    assert all(s.agreement > 0.5 for s in ranked[:30])
    assert all(s.agreement > 0.5 for s in accepted(ranked, "0.5"))
    assert len(accepted(ranked, "0.5")) == 30


def test_too_few_decisions_change_nothing_and_foreign_ones_are_refused() -> None:
    suggestions = some_suggestions(20)
    ranked, told = with_trust(suggestions, {"add:3:A": True, "add:4:A": False})
    assert ranked == suggestions
    assert not told[ADD]["learnt"]
    with pytest.raises(DataError, match="none of the 1 decisions"):
        with_trust(suggestions, {"add:99:Z": True})


def test_what_is_accepted(tmp_path: Path) -> None:
    suggestions = some_suggestions(10)
    assert accepted(suggestions, "all") == suggestions
    assert [s.row for s in accepted(suggestions, "0.75")] == [0, 1, 2]
    (tmp_path / "log.jsonl").write_text(
        '{"id": "add:3:A", "accepted": true}\n{"id": "add:4:A", "accepted": false}\n'
    )
    assert [s.row for s in accepted(suggestions, str(tmp_path / "log.jsonl"))] == [3]
    (tmp_path / "ids.txt").write_text("add:77:A\n")
    with pytest.raises(DataError, match="1 of its 1 ids are no suggestions"):
        accepted(suggestions, str(tmp_path / "ids.txt"))
    with pytest.raises(DataError, match="no such file"):
        accepted(suggestions, "every")


def test_labels_that_people_added_are_followed_and_texts_without_a_row_passed_over(
    tmp_path: Path,
) -> None:
    suggestions, path = some_suggestions(3), tmp_path / "log.jsonl"
    added = {"id": "add:2:B", "accepted": True, "kind": "add", "corpus": "c", "row": 2}
    typed = {"id": "text:0123:B", "accepted": True, "kind": "text", "text": "t", "label": "B"}
    lines = [{"id": "add:1:A", "accepted": True}, {**added, "label": "B", "name": "b"}, typed]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    followed = accepted(suggestions, str(path))
    assert [(s.row, s.label, s.kind) for s in followed] == [(1, "A", "add"), (2, "B", "add")]
    assert (followed[1].corpus, followed[1].score) == ("c", 1.0)
    path.write_text(path.read_text() + json.dumps({"id": "add:2:B", "accepted": False}) + "\n")
    assert [s.row for s in accepted(suggestions, str(path))] == [1]
    path.write_text(json.dumps(added) + "\n")  # names no label
    with pytest.raises(DataError, match="1 of its 1 ids are no suggestions"):
        accepted(suggestions, str(path))


def test_suggestions_read_back_as_written(tmp_path: Path) -> None:
    suggestions = some_suggestions(3)
    write_suggestions(tmp_path / "s.jsonl", suggestions)
    assert read_suggestions(tmp_path / "s.jsonl") == suggestions
    (tmp_path / "s.jsonl").write_text('{"id": 3}\n')
    with pytest.raises(DataError, match="line 1"):
        read_suggestions(tmp_path / "s.jsonl")


@pytest.mark.parametrize("by_frequency", [False, True])
def test_damage_is_as_much_as_asked_and_known(corpus: Corpus, by_frequency: bool) -> None:
    found = damage(corpus, 0.2, 0.1, by_frequency=by_frequency, seed=0)
    assert found.removed_NL.nnz == pytest.approx(0.2 * corpus.Y.nnz, rel=0.2)
    assert 0 < found.added_NL.nnz <= round(0.1 * corpus.Y.nnz)
    assert found.added_NL.multiply(corpus.Y).nnz == 0
    restored = found.corpus.Y - found.added_NL + found.removed_NL
    assert (restored != corpus.Y).nnz == 0
    again = damage(corpus, 0.2, 0.1, by_frequency=by_frequency, seed=0)
    assert (again.corpus.Y != found.corpus.Y).nnz == 0


def test_recovery_of_a_ranking() -> None:
    told = ranked_recovery(np.array([True, False, True, False]), 4)
    assert told["average_precision"] == pytest.approx((1 + 2 / 3) / 4, abs=1e-4)
    assert told["precision_at_damage"] == told["recall_at_damage"] == 0.5
    assert ranked_recovery(np.array([], bool), 0)["recall"] == 0.0
