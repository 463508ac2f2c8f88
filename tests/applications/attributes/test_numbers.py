import math

import pytest

from xrt.applications.attributes.data.numbers import is_number_cell, parse_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1,299.00 EUR", 1299.0),
        ("1.299,00 €", 1299.0),
        ("$12", 12.0),
        ("12", 12.0),
        ("1 299", 1299.0),
        ("1\u202f299,50 €", 1299.5),
        ("1'299.50", 1299.5),
        ("1,299", 1299.0),
        ("0,125", 0.125),
        ("1234,567", 1234.567),
        ("12,5", 12.5),
        ("1.299", 1.299),
        ("1.299.000", 1_299_000.0),
        ("12,34,567", 1_234_567.0),
        ("1,29,900.00", 129_900.0),
        ("Rs. 1,299/-", 1299.0),
        ("Rs.500", 500.0),
        ("-5", -5.0),
        ("−5.5", -5.5),
        (".99", 0.99),
        ("1.5E-3 kg", 0.0015),
        ("2 x 100", 2.0),
        ("12-15", 12.0),
    ],
)
def test_prices_as_people_write_them(text, number):
    assert parse_number(text) == number


@pytest.mark.parametrize(
    "text", ["", " ", "free", "nan", "inf", "-", "€", "1.2.3", "12,30,45", "9" * 400, None]
)
def test_what_is_no_number(text):
    assert parse_number(text) is None


def test_it_never_raises_and_never_gives_what_is_not_finite():
    signs = "0129.,-+ '’e€a²٣½\u202f\n"
    texts = ["".join(signs[(i * k + k * k) % len(signs)] for k in range(7)) for i in range(5000)]
    numbers = [parse_number(text) for text in texts]
    assert all(number is None or math.isfinite(number) for number in numbers)
    assert any(number is not None for number in numbers)


def test_a_number_cell_has_little_beside_the_number():
    assert all(map(is_number_cell, ["12", "1e3", "1,299.00 EUR", "Rs. 5/-", "10 USD / pc"]))
    assert not any(map(is_number_cell, ["iPhone 12", "Tin of 12 beans", "free", "2 x 100"]))
