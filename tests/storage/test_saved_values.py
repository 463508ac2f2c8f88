"""Values of saved JSON files: each is of the type and range that is needed, or refused by name."""

from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from xrt.errors import ArtifactError
from xrt.storage.reading import read_json_bounded
from xrt.storage.saved_values import SavedValues


class Colour(Enum):
    red = "red"
    blue = "blue"


GOOD: dict[str, Any] = {
    "whole": 3, "number": 0.5, "flag": False, "text": "x", "choice": "blue", "texts": ["a", "b"],
    "wholes": [1, 0], "numbers": [[1, 2.5]], "mapping": {"a": 1}, "none": None, "empty": [],
}  # fmt: skip


def test_good_values_come_as_they_are() -> None:
    values = SavedValues(GOOD, "m.json")
    assert values.whole("whole", 1, 3) == 3
    assert values.whole("absent", default=7) == 7
    assert values.number("number", 0, 1) == 0.5
    assert values.number("whole") == 3.0
    assert values.flag("flag") is False
    assert values.flag("absent", True) is True
    assert values.text("text") == "x"
    assert values.choice("choice", Colour) is Colour.blue
    assert values.texts("texts") == ("a", "b")
    assert values.whole_numbers("wholes", 2) == (1, 0)
    assert values.numbers("numbers", 1, 2).tolist() == [[1.0, 2.5]]
    assert values.numbers("numbers", -1, -1).shape == (1, 2)
    assert values.numbers("empty", 0, 3).shape == (0, 3)
    assert values.mapping_of_numbers("mapping", 0, 1) == {"a": 1.0}
    assert (values.has("none"), values.has("absent"), values.has("flag")) == (False, False, True)
    assert SavedValues({"a": {"b": [{"c": 1}]}}, "m").part("a").parts("b")[0].whole("c") == 1


@pytest.mark.parametrize("value", [-1, 4, 2.0, True, "3", None, [3], {}, 10**400, 0.5])
def test_what_is_no_such_whole_number_is_refused(value: Any) -> None:
    with pytest.raises(ArtifactError, match=r"^m\.json: k = .* a whole number, 0 to 3, is needed"):
        SavedValues({"k": value}, "m.json").whole("k", 0, 3)


@pytest.mark.parametrize("value", [-0.1, 2, True, "1", None, [1], {}, 10**400, 1e308])
def test_what_is_no_such_number_is_refused(value: Any) -> None:
    with pytest.raises(ArtifactError, match=r"k = .*: a finite number, 0 to 1, is needed"):
        SavedValues({"k": value}, "m.json").number("k", 0, 1)


@pytest.mark.parametrize(
    ("take", "values"),
    [
        (lambda saved: saved.flag("k"), [0, 1, "true", None, []]),
        (lambda saved: saved.text("k"), [0, None, ["a"], {}]),
        (lambda saved: saved.choice("k", Colour), ["green", 0, None, ["red"], "RED", ""]),
        (lambda saved: saved.texts("k"), ["ab", [1], ["a", "a"], None, {"a": 1}]),
        (lambda saved: saved.whole_numbers("k"), [[1.0], [-1], [True], [2**63], 3, None]),
        (lambda saved: saved.whole_numbers("k", 2), [[1], [1, 2, 3], []]),
        (
            lambda saved: saved.numbers("k", 2),
            [[1], [1, "2"], [[1, 2]], [1, None], [1, [2]], [1, 10**400], "12", [True, 1], []],
        ),
        (lambda saved: saved.numbers("k", 1, 2), [[1, 2], [[1], [2]], [[1, 2], [3]], [[]]]),
        (lambda saved: saved.mapping_of_numbers("k"), [[1], {"a": "x"}, {"a": None}, 3, None]),
        (lambda saved: saved.part("k"), [[], 1, None, "x"]),
        (lambda saved: saved.parts("k"), [{}, [1], None, [[]]]),
    ],
)
def test_other_values_are_refused_in_one_line(take: Any, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(ArtifactError) as caught:
            take(SavedValues({"k": value}, "m.json"))
        assert str(caught.value).startswith("m.json: ")
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 300


def test_what_is_missing_or_no_object_is_named() -> None:
    with pytest.raises(ArtifactError, match=r"m\.json: k is missing; copy the model again"):
        SavedValues({}, "m.json").whole("k")
    with pytest.raises(ArtifactError, match=r"m\.json: an object is needed, not \[1\]"):
        SavedValues([1], "m.json")
    with pytest.raises(ArtifactError, match=r"m\.json: part: an object is needed, not None"):
        SavedValues({}, "m.json").part("part")


@pytest.mark.parametrize(
    "text",
    [
        "NaN", "[1e999]", "[-1e400]", "Infinity", "[" * 5000, '{"a":' * 5000, '{"a":1,"a":2}',
        "\xff", "[1,]", "", "1 2", "[" * 40 + "]" * 40, "9" * 5000,
    ],
)  # fmt: skip
def test_json_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "m.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ArtifactError, match=r"m\.json: (not valid JSON|nested deeper)"):
        read_json_bounded(path)
