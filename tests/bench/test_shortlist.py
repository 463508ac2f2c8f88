"""The shortlist benchmark: a tiny synthetic case, its lines and the record of them."""

from bench.suites import shortlist


def test_a_case_tells_recall_and_time_of_every_kind_and_width():
    asked = "--labels 2000 --leaf 20 --train-rows 400 --hidden 12 --rows 30 --repeats 2 --beam 4"
    args = shortlist.parse_arguments([*asked.split(), "--widths", "4", "100", "1000"])
    lines = shortlist.measure(shortlist.synthetic_case(args), args)
    assert {(line["kind"], line["width"]) for line in lines} == {
        ("root", 0),
        *((kind, width) for kind in ("flat", "hnsw", "ivf_pq") for width in (4, 100)),
    }
    told = {(line["kind"], line["width"]): line for line in lines}
    assert told["flat", 100]["recall"] == 1.0
    assert told["flat", 4]["recall"] <= 1.0
    assert 0 < told["root", 0]["recall"] <= 1.0
    assert told["root", 0]["batch_us_of_root"] == told["root", 0]["single_us_of_root"] == 1.0
    assert all(line["tree"] == "7-100" for line in lines)
    text = shortlist.render(lines)
    assert "Quickest at 99 %: " in text
    assert "| root | - | " in text
    below = [line | {"recall": 0.5} for line in lines]
    assert "No shortlist reaches 99 %." in shortlist.render(below)
