"""How numbers are written: three significant digits, thousands in full, a space before the unit."""

from __future__ import annotations


def number(value: float) -> str:
    """39.1, 425, 1,205."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    digits = 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}"


def seconds(value: float) -> str:
    """12.4 s."""
    return f"{number(value)} s"


def rate(value: float) -> str:
    """39.1 samples/s."""
    return f"{number(value)} samples/s"


def times(value: float) -> str:
    """1.52 ×."""
    return f"{value:.2f} ×"


def percent(value: float, digits: int = 0) -> str:
    """A share as 71 %."""
    return f"{100 * value:.{digits}f} %".replace("-", "−")
