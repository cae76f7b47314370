"""How numbers are written: three digits that hold across rounding, and units apart from numbers."""

from __future__ import annotations

import pytest

from common.formats import FORMATS, gib, number


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0312, "0.0312"), (3.14159, "3.14"), (39.12, "39.1"), (425.3, "425"), (1204.6, "1,205"), (0, "0"),
     (99.96, "100"), (9.996, "10.0"), (0.9996, "1.00"), (999.7, "1,000"), (-0.4904, "−0.490")],
)  # fmt: skip
def test_three_digits_hold_across_rounding(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [("B", 999.4, "999 B"), ("B", 999.7, "1.00 kB"), ("B", 999_700_000, "1.00 GB"), ("B/s", 3e9, "3.00 GB/s"),
     ("J", 0.5, "0.500 J"), ("duration", 2, "2.00 s"), ("duration", 0.0123, "12.3 ms"),
     ("duration", 4.56e-5, "45.6 µs"), ("ms", 0.01516, "15.2 ms"), ("%", 0.714, "71 %"), ("%", -0.09, "−9 %"),
     ("%.1", 0.0349, "3.5 %"), ("×", 1.944, "1.94 ×"), ("count", 12800, "12,800"), ("GiB", 2**30 * 5.46, "5.46 GiB"),
     ("GiB", 1023.9 * 2**20, "1.00 GiB"), ("±GiB", 12 * 2**20, "+12.0 MiB"), ("±GiB", -3 * 2**20, "−3.00 MiB")],
)  # fmt: skip
def test_forms(form, value, text):
    assert FORMATS[form](value) == text


def test_number_and_unit_are_apart():
    written = FORMATS["samples/s"](1691.08)
    assert (written.number, written.unit, f"{written}") == ("1,691", "samples/s", "1,691 samples/s")


def test_both_ends_of_an_interval_have_one_unit():
    assert FORMATS["ms"](0.000746, 0.00121) == "0.746–1.21 ms"
    assert FORMATS["ms"](-0.0021, 0.0005) == "−2.10 to 0.500 ms"
    assert FORMATS["B"](900e6, 1.1e9) == "0.900–1.10 GB"
    assert FORMATS["%"](0.27, 0.36).number == "27–36"


def test_gib_of_nothing_is_not_available():
    assert gib(None) == "n/a"
    assert gib(900 * 2**20) == "900 MiB"
