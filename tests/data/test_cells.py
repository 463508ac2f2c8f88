import datetime
import unicodedata
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xrt.data.cells import clean_label, id_text
from xrt.data.options import BadLine

JOINED = "\u0645\u06cc\u200c\u062e\u0648"  # a joiner that Persian needs


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("  Acme ", "Acme"),
        ("Acme\u200b", "Acme"),
        ("\ufeffAcme", "Acme"),
        ("Ac\u00adme", "Acme"),
        ("Ac\u2060me", "Acme"),
        ("\u202aAcme\u202c", "Acme"),
        ("Acme\x00", "Acme"),
        ("Acme\u200d", "Acme"),
        ("big  box", "big box"),
        ("big\tbox\r\n", "big box"),
        ("big\u00a0\u3000box", "big box"),
        ("Nestle\u0301", "Nestl\u00e9"),
        ("Nestle\u200b\u0301", "Nestl\u00e9"),
        ("half \ud83d", "half \ufffd"),
        ("\u200b", ""),
        (JOINED, JOINED),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
    ],
)
def test_labels_that_look_alike_are_one(raw, clean):
    assert clean_label(raw) == clean


@given(st.text())
def test_cleaning_twice_changes_nothing_more(text):
    once = clean_label(text)
    assert clean_label(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert once == " ".join(once.split())


@pytest.mark.parametrize(
    ("value", "id"),
    [
        ("392", "392"),
        (" 392 ", "392"),
        ("392.0", "392.0"),
        ("00392", "00392"),
        (392, "392"),
        (392.0, "392"),
        (-1.0, "-1"),
        (2.0**53, "9007199254740992"),
        (2**53 + 1, "9007199254740993"),
        (np.int64(7), "7"),
        (np.float32(7), "7"),
        (Decimal("7.00"), "7"),
        (1.5, "1.5"),
        (float("nan"), ""),
        (np.float64("nan"), ""),
        (None, ""),
        (b"a\xcc\x81 ", "\u00e1"),
        (True, "true"),
        (datetime.date(2026, 1, 31), "2026-01-31"),
    ],
)
def test_an_id_is_one_text_whatever_kind_the_file_gives(value, id):
    assert id_text(value) == id


@pytest.mark.parametrize("value", [["a"], {"a": 1}, ("a",)])
def test_what_has_parts_is_no_id(value):
    with pytest.raises(BadLine, match="where an id is needed"):
        id_text(value)
