import numpy as np

from xrt.applications.attributes.data.space import AttributeSpace, make_value_table
from xrt.applications.attributes.metrics.table import attribute_report
from xrt.applications.attributes.report_tables import build_report_tables
from xrt.report import write_report

IDS = ["L0=a", "L0=b", "L1=x", "L1=y", "L1=z"]
SPACE = AttributeSpace(("L0", "L1"), ("L0", "L1"), make_value_table(IDS))
PARENTS_L = np.array([5, 5, 0, 0, 1])
TRUE_NA = np.int32([[0, 2], [0, 2], [0, 3], [1, 4], [1, 5]])  # column 5 was never seen
PREDICTED_NA = np.int32([[0, 3], [0, 3], [0, 3], [1, 4], [1, 2]])


def report(**more):
    return attribute_report(SPACE, TRUE_NA, PREDICTED_NA, 5, **more)


def full():
    return report(
        counts_L=np.array([30, 20, 3, 2, 6]),
        probabilities_NA=np.full((5, 2), 0.75),
        row_probabilities_N=np.full(5, 0.5),
    )


def test_every_figure_stands_in_its_column():
    (attributes, items, _), _ = build_report_tables(
        full(), TRUE_NA, PREDICTED_NA, SPACE, PARENTS_L, where="test file", num_impossible_paths=1
    )
    assert attributes.title == "Attributes, test file"
    rows = [dict(zip(attributes.columns, row, strict=True)) for row in attributes.rows]
    assert [row["attribute"] for row in rows] == ["L0", "L1"]
    assert rows[1]["accuracy"] == 0.4
    assert (rows[1]["support"], rows[1]["values"]) == (5, 4)
    assert (rows[1]["unseen values"], rows[1]["unseen rows"]) == (1, 1)
    assert rows[1]["recall, seen 1-5 times"] == 1 / 3
    assert rows[0]["recall, seen 1-5 times"] is None
    assert rows[1]["ECE"] == full()["L1"].reliability.expected_error
    assert [row[1] for row in items.rows] == [0.4, 0.5, 0.5 - 0.4, 1]


def test_siblings_that_are_confused_are_named():
    (_, _, confusions), _ = build_report_tables(full(), TRUE_NA, PREDICTED_NA, SPACE, PARENTS_L)
    assert confusions.rows == [["L1=x", "L1=y", "L0=a", 2, 1.0, 2 / 3]]
    assert "Of 3 wrong cells 66.7 %" in confusions.note


def test_what_is_not_known_is_left_out():
    tables, plots = build_report_tables(report())
    assert [table.title for table in tables] == ["Attributes", "Items"]
    assert "ECE" not in tables[0].columns
    assert plots == []


def test_charts_of_rare_values_and_of_trust():
    _, (recall, trust) = build_report_tables(full())
    assert "Recall by training frequency" in recall
    assert "200+" in recall
    assert "whole rows, ECE 0.100" in trust


def test_the_page_is_written(tmp_path):
    tables, plots = build_report_tables(full(), TRUE_NA, PREDICTED_NA, SPACE, PARENTS_L)
    page = write_report(tmp_path / "report.html", "attributes", tables, plots)
    assert page.read_text().count("<svg") == 2


def test_attributes_that_nobody_gives(tmp_path):
    nothing = np.full((2, 2), -1, np.int32)
    empty = attribute_report(SPACE, nothing, PREDICTED_NA[:2], 5, np.ones(5))
    tables, plots = build_report_tables(empty, nothing, PREDICTED_NA[:2], SPACE, PARENTS_L)
    assert tables[0].rows[0][1] is None
    assert plots == []
    write_report(tmp_path / "report.html", "attributes", tables, plots)


def test_what_a_fill_writes_is_a_table():
    written_NA = np.array([[True, True], [True, False], [True, True], [False, True], [True, True]])
    tables, _ = build_report_tables(report(is_written_NA=written_NA))
    fills = next(table for table in tables if table.title == "What a fill writes")
    assert fills.rows == [["L0", "4", "4", "0", "0", "0"], ["L1", "4", "2", "2", "0", "0"]]
    assert "more likely right than wrong" in fills.note
