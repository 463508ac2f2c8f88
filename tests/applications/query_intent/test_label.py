import gzip
import json

import polars as pl
import pytest

from xrt.applications.query_intent import LabellingParams, label_queries
from xrt.applications.query_intent.catalogue import read_catalogue
from xrt.applications.query_intent.clicks.log import ClickLog
from xrt.applications.query_intent.clicks.partitions import ItemNumbers, Partitions
from xrt.applications.query_intent.demo_clicks import ClickParams, write_demo_clicks
from xrt.cli import main
from xrt.demo.catalogue import DemoParams
from xrt.errors import CapacityError, ConfigError, DataError

DEMO = ClickParams(
    num_items=1500, num_queries=900, catalogue=DemoParams(num_brands=250, wrong_brand=0.04)
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    write_demo_clicks(folder, DEMO, seed=1)
    return folder


@pytest.fixture(scope="module")
def labelled(demo):
    return label_queries(demo / "clicks", demo / "items.jsonl", demo / "corpus.jsonl")


def truth_of(demo):
    records = map(json.loads, (demo / "queries_truth.jsonl").read_text().splitlines())
    return {r["text"]: set(r["labels"]) for r in records if r["split"] == "trn"}


def micro_f1(found, truth):
    hits = sum(len(labels & truth[text]) for text, labels in found.items())
    total = sum(len(labels) + len(truth[text]) for text, labels in found.items())
    return 2 * hits / total


def records_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_labels_are_clearly_better_than_click_share(demo, labelled):
    truth = truth_of(demo)
    found = {r["text"]: set(r["labels"]) for r in records_of(labelled.path)}
    assert set(found) == set(truth)
    rows = pl.read_parquet(demo / "clicks" / "*.parquet").group_by(
        pl.col("query").str.normalize("NFKC").str.to_lowercase().str.split(" ").list.eval(
            pl.element().filter(pl.element() != "")).list.join(" "), "item"
    ).agg(pl.col("count").sum())  # fmt: skip
    items = {r["id"]: set(r["labels"]) for r in records_of(demo / "items.jsonl")}
    mass = {text: {} for text in truth}
    total = dict.fromkeys(truth, 0)
    for query, item, count in rows.iter_rows():
        total[query] += count
        for label in items.get(item, ()):
            mass[query][label] = mass[query].get(label, 0) + count
    best = max(
        micro_f1(
            {q: {v for v, n in some.items() if n >= t * total[q] > 0} for q, some in mass.items()},
            truth,
        )
        for t in (0.3, 0.4, 0.5, 0.6, 0.7)
    )
    assert micro_f1(found, truth) > best + 0.05


def test_confidences_are_probabilities_and_ancestors_are_there(labelled):
    for record in records_of(labelled.path):
        for label, confidence in record["labels"].items():
            assert 0.5 <= confidence <= 1
            if " > " in label:
                assert record["labels"][label.rpartition(" > ")[0]] >= confidence - 1e-9


def test_the_corpus_reads_as_one_with_weights(labelled):
    corpus = labelled.read()
    assert corpus.num_instances == labelled.report.num_queries
    assert 0.5 <= corpus.Y.data.min() < corpus.Y.data.max() <= 1


def test_small_batches_and_parts_give_the_same_bytes(demo, labelled, tmp_path):
    params = LabellingParams(batch_rows=3000, partition_rows=100)
    again = label_queries(demo / "clicks", demo / "items.jsonl", tmp_path / "c.jsonl", params)
    assert again.path.read_bytes() == labelled.path.read_bytes()


def test_parquet_csv_and_jsonl_are_read_alike(demo, tmp_path):
    frame = pl.read_parquet(demo / "clicks" / "*.parquet")
    frame.write_parquet(tmp_path / "clicks.parquet")
    frame.rename({"item": "sku"}).write_csv(tmp_path / "clicks.csv")
    frame.write_ndjson(tmp_path / "clicks.jsonl")
    (tmp_path / "clicks.csv.gz").write_bytes(gzip.compress((tmp_path / "clicks.csv").read_bytes()))
    _, expected = batches(demo / "clicks", batch_rows=10**6)
    for name in ("clicks.parquet", "clicks.jsonl", "clicks.csv", "clicks.csv.gz"):
        columns = {"item": "sku"} if ".csv" in name else None
        _, found = batches(tmp_path / name, batch_rows=7000, columns=columns)
        assert found.equals(expected)


def test_impressions_and_positions_are_not_needed(demo, tmp_path):
    clicked = pl.read_parquet(demo / "clicks" / "*.parquet").filter(pl.col("count") > 0)
    frame = clicked.select("query", "item", "count")
    result = label_queries(frame, demo / "items.jsonl", tmp_path / "c.jsonl")
    truth = truth_of(demo)
    found = {r["text"]: set(r["labels"]) for r in records_of(result.path)}
    assert result.report.examination is None
    assert micro_f1(found, truth) > 0.8
    assert "position bias: not corrected" in result.report.to_text()


def test_the_report_counts_what_was_met(labelled):
    told = json.loads((labelled.path.parent / "corpus.jsonl.report.json").read_text())
    assert told["clicks"]["num_unknown_items"] > 0
    assert told["num_with_variants"] > 0
    assert set(told["attributes"]) == {"brand", "category", "color", "size"}
    assert told["examination"]["1"] == 1 > told["examination"]["5"] > told["examination"]["10"] > 0
    text = labelled.report.to_text()
    assert "catalogue does not have" in text
    assert text.splitlines()[-1].startswith("next: ")


def test_the_command_line_writes_the_same(demo, labelled, tmp_path, capsys):
    out = tmp_path / "corpus.jsonl"
    arguments = [str(demo / "clicks"), str(demo / "items.jsonl"), "--out", str(out)]
    assert main(["label", *arguments]) == 0
    assert out.read_bytes() == labelled.path.read_bytes()
    assert f"dataset.trn={out}" in capsys.readouterr().err
    assert main(["label", *arguments, "--columns", "sku"]) == 2
    assert "write NAME=COLUMN" in capsys.readouterr().err


def batches(path, batch_rows=100, **options):
    log = ClickLog(path, batch_rows=batch_rows, max_count=1e9, **options)
    return log, pl.concat(log.batches())


@pytest.mark.parametrize("bad", ["-1", "x", "", "inf", "1e12"])
def test_an_absurd_count_is_one_error_with_its_line(tmp_path, bad):
    path = tmp_path / "clicks.csv"
    path.write_text(f'query,item,count\nred pan,a,3\n"blue, pan",b,{bad}\nred pan,b,1\n')
    with pytest.raises(DataError, match=r"clicks\.csv: line 3: query 'blue, pan'"):
        batches(path)
    log, frame = batches(path, skip_bad_lines=True, bad_lines_folder=tmp_path)
    assert frame["count"].to_list() == [3.0, 1.0]
    assert log.report.num_bad == 1
    assert "blue, pan" in (tmp_path / "clicks.csv.bad-lines.jsonl").read_text()


def test_columns_that_are_missing_are_told(tmp_path):
    path = tmp_path / "clicks.csv"
    path.write_text("term,item\nred,a\n")
    with pytest.raises(DataError, match=r"no column 'query'.* columns=\.\.\. where the log"):
        batches(path)
    _, frame = batches(path, columns={"query": "term"})
    assert frame.row(0) == ("red", "a", 1.0, None, None)  # a row without a count is one click


def test_more_clicks_than_impressions_are_counted(tmp_path):
    path = tmp_path / "clicks.csv"
    path.write_text("query,item,count,impressions\nred,a,5,2\nred,b,1,2\n")
    log, frame = batches(path)
    assert log.report.num_more_clicks_than_impressions == 1
    assert frame["impressions"].to_list() == [5.0, 2.0]


def test_quoted_line_ends_do_not_break_a_block(tmp_path):
    path = tmp_path / "clicks.csv"
    rows = [f'"red\npan {i}",a,1' for i in range(400)]
    path.write_text("query,item,count\n" + "\n".join(rows) + "\n")
    log = ClickLog(path, batch_rows=10, max_count=1e9)
    assert sum(len(frame) for frame in log.batches()) == 400


def test_a_log_of_another_catalogue_or_without_agreement_is_told(demo, tmp_path):
    frame = pl.DataFrame({"query": ["red pan"], "item": ["nowhere"], "count": [3]})
    with pytest.raises(DataError, match="use the same ids in both"):
        label_queries(frame, demo / "items.jsonl", tmp_path / "c.jsonl")
    frame = pl.DataFrame({"query": ["zork"], "item": ["i0000000"], "count": [3]})
    with pytest.raises(DataError, match="clicks and names agree on 0 true"):
        label_queries(frame, demo / "items.jsonl", tmp_path / "c.jsonl")
    assert list(tmp_path.iterdir()) == []  # nothing is half written


def test_settings_out_of_range_are_told():
    with pytest.raises(ConfigError, match=r"min_confidence = 1\.5"):
        LabellingParams(min_confidence=1.5)
    with pytest.raises(ConfigError, match="batch_rows = 0"):
        LabellingParams(batch_rows=0)


def test_a_part_too_large_is_read_in_stretches_of_the_same_queries(tmp_path):
    rows = [(f"query {i % 997}", f"i{i % 13}", 1 + i % 3) for i in range(20_000)]
    pl.DataFrame(rows, schema=["query", "item", "count"], orient="row").write_parquet(
        tmp_path / "clicks.parquet"
    )
    log = ClickLog(tmp_path / "clicks.parquet", batch_rows=900, max_count=1e9)
    (tmp_path / "parts").mkdir()
    partitions = Partitions(tmp_path / "parts")
    partitions.fill(log, {f"i{i}": i for i in range(13)})
    whole = list(partitions.groups(10**9))
    small = list(partitions.groups(60))
    assert len(whole) == 1 < 300 < len(small)  # 64 parts of about 310 rows, in stretches of 60
    assert [q for group in small for q in group.queries] == whole[0].queries
    assert max(len(group.rows) for group in small) < 200
    totals = [group.rows["count"].sum() for group in small]
    assert sum(totals) == whole[0].rows["count"].sum() == sum(count for *_, count in rows)


def test_ids_are_found_as_they_stand_then_by_their_look_then_as_whole_numbers():
    known = ItemNumbers({"392": 0, "7.0": 1, "Nestlé 5": 2})
    ids = [
        "392",
        "392.0",
        "392.00",
        " 392\u200b",
        "7.0",
        "7",
        "Nestle\u0301  5",
        "392.5",
        ".0",
        "x",
    ]
    found = {row[0]: row[1:] for row in known.of(pl.Series("item", ids)).rows()}
    assert [found[id] for id in ids] == [
        (0, False), (0, True), (0, True), (0, False), (1, False), (None, False), (2, False),
        (None, False), (None, False), (None, False),
    ]  # fmt: skip


def test_positions_from_0_and_float_ids_are_told(demo, tmp_path):
    log = ClickLog(demo / "clicks", batch_rows=100_000, max_count=1e9)
    frame = pl.concat(log.batches()).head(4000)
    items = frame["item"].unique(maintain_order=True).to_list()
    number = {item: n for n, item in enumerate(items)}
    frame = frame.with_columns(
        item=pl.Series([f"{number[item]}.0" for item in frame["item"]]),
        position=pl.Series([n % 5 for n in range(len(frame))]),
    )
    frame.write_csv(tmp_path / "clicks.csv")
    lines = [json.loads(line) for line in (demo / "items.jsonl").read_text().splitlines()]
    lines = [line | {"id": number[line["id"]]} for line in lines if line["id"] in number]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = label_queries(tmp_path / "clicks.csv", tmp_path / "items.jsonl", tmp_path / "q.jsonl")
    text = result.report.to_text()
    assert "800 rows have position 0, which is taken as not known: positions count from 1" in text
    num_known = 4000 - result.report.log.num_unknown_items
    assert num_known > 3900
    assert f"{num_known:,} rows have an item such as `392.0`, read as `392`" in text
    assert result.report.to_dict()["clicks"]["num_position_zero"] == 800


@pytest.mark.parametrize(
    "column", [pl.Series([b"a", b"b"]), pl.Series([object(), object()]), pl.Series([[1], [2]])]
)
def test_a_frame_with_other_types_is_refused_in_one_line(demo, tmp_path, column):
    frame = pl.DataFrame({"query": ["a", "b"]}).with_columns(column.alias("item"))
    with pytest.raises(DataError, match=r"of type|cannot be used") as caught:
        label_queries(frame, demo / "items.jsonl", tmp_path / "c.jsonl")
    assert "\n" not in str(caught.value)


def test_a_disk_that_fills_up_is_one_line(demo, tmp_path, monkeypatch):
    def full(*_, **__):
        raise pl.exceptions.ComputeError("No space left on device (os error 28)")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    with pytest.raises(CapacityError, match="disk full; free some space") as caught:
        label_queries(demo / "clicks", demo / "items.jsonl", tmp_path / "c.jsonl")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_catalogue_is_read_by_its_separator_and_its_bad_lines_lie_beside_the_corpus(tmp_path):
    lines = ["id,title,labels", "1,a,brand=A|kind=B", "2,b", "3,c,brand=A"]
    (tmp_path / "i.csv").write_text("\n".join(lines))
    read = read_catalogue(
        tmp_path / "i.csv", label_separator="|", skip_bad_lines=True, bad_lines_folder=tmp_path
    )
    assert set(read.labels) == {"brand=A", "kind=B"}
    assert (tmp_path / "i.csv.bad-lines.jsonl").exists()
    assert "1 bad lines skipped, written to" in " ".join(read.notes)


def test_words_for_nothing_are_no_values_of_a_catalogue(tmp_path):
    rows = [["brand=Acme", "kind=nan"], ["brand=<NA>", "kind=Pan"], ["brand=-", "none"]]
    items = [{"id": str(i), "title": "x", "labels": labels} for i, labels in enumerate(rows)]
    path = tmp_path / "items.jsonl"
    path.write_text("\n".join(map(json.dumps, items)))
    catalogue = read_catalogue(path)
    assert set(catalogue.labels) == {"brand=Acme", "kind=Pan", "none"}
    told = "values that say there is none were left out: brand=-, brand=<NA>, kind=nan"
    assert told in catalogue.notes
    (tmp_path / "items.csv").write_text("id,title,brand,kind\n1,x,Acme,NaN\n2,y,n/a,Pan\n")
    catalogue = read_catalogue(tmp_path / "items.csv", label_columns=("brand", "kind"))
    assert set(catalogue.labels) == {"brand=Acme", "kind=Pan"}
