"""How numbers are written: three significant digits, thousands in full, and the unit apart from the number.

A format says in which unit a number appears and how exactly. `FORMATS["ms"](0.0152)` is the text `15.2 ms`, with its
number and unit as attributes; `FORMATS["ms"](0.0152, 0.0161)` writes both ends of an interval in one unit.
"""

import math
import re
from dataclasses import dataclass
from typing import Self


class FormattedNumber(str):
    """A number as text, together with its unit; `number` and `unit` are its parts."""

    number: str
    unit: str

    def __new__(cls, number: str, unit: str = "", gap: str = " ") -> Self:
        text = super().__new__(cls, f"{number}{gap}{unit}".rstrip())
        text.number, text.unit = number, unit
        return text


NO_BREAK_SPACE = "\u00a0"
CORE_OF = "1 core of "
"""How the device model of a CPU core begins in records; its CPU follows."""


def printable(text: str) -> str:
    """Text from elsewhere as one line that is safe for a terminal: no control characters, nothing that is no letter."""
    return "".join(letter if letter.isprintable() or letter == NO_BREAK_SPACE else "�" for letter in text)


def plural(count: int, one: str) -> str:
    """`1 run`, `2 runs`: for English that is not translated."""
    return f"{count} {one}" if count == 1 else f"{count} {one}s"


def without_controls(text: str) -> str:
    """Lines of text as they are, but for characters that steer a terminal."""
    return re.sub("[\x00-\x08\x0b-\x1f\x7f-\x9f]", "�", text)


def number(value: float) -> str:
    """39.1, 425, 1,205, 0.0312: three significant digits, but whole numbers from 100 on."""
    rounded = _three_digits(value)
    decimals = max(0, 2 - math.floor(math.log10(rounded))) if rounded else 0
    return f"{value:,.{decimals}f}".replace("-", "−")


def _three_digits(value: float) -> float:
    """Its size, rounded first, so that 99.96 is seen to have three digits before the point and 999.7 B is 1.00 kB."""
    return float(f"{abs(value):.2e}")


DECIMAL = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
MAX_DECIMALS = 4
SMALL = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"))
BINARY = ((2.0**30, "Gi"), (2.0**20, "Mi"), (2.0**10, "Ki"), (1.0, ""))


@dataclass(frozen=True)
class NumberFormat:
    """A way to write a number."""

    unit: str
    factor: float = 1.0
    """From the unit of the value to the unit that is shown."""
    decimals: int | None = None
    """None: three significant digits."""
    prefixes: tuple[tuple[float, str], ...] = ((1.0, ""),)
    """Sizes with their prefixes, the largest first."""
    signed: bool = False
    """Whether a plus sign is written, too."""
    shows_side: bool = False
    """Whether more decimals are written where fewer would turn 0.998 or 1.003 into 1.00."""

    def __call__(self, *values: float) -> FormattedNumber:
        """A number, `15.2 ms`, or both ends of an interval, `15.2–16.1 ms`, with the prefix that suits the larger."""
        largest = max(map(abs, values))
        fitting = (prefix for prefix in self.prefixes if _three_digits(largest / prefix[0]) >= 1)
        size, prefix = next(fitting, self.prefixes[-1])
        sign = "+" if self.signed and len(values) == 1 and values[0] >= 0 else ""
        dash = "–" if values[0] >= 0 else " to "
        return FormattedNumber(sign + dash.join(self._digits(value / size) for value in values), prefix + self.unit)

    def _digits(self, value: float) -> str:
        value *= self.factor
        if self.decimals is None:
            return number(value)
        decimals = self.decimals
        while self.shows_side and decimals < MAX_DECIMALS and value != 1 and round(value, decimals) == 1:
            decimals += 1
        return f"{value:,.{decimals}f}".replace("-", "−")


FORMATS = {
    "s": NumberFormat("s"),
    "ms": NumberFormat("ms", 1000),
    "duration": NumberFormat("s", prefixes=SMALL),
    "samples/s": NumberFormat("samples/s"),
    "tokens/s": NumberFormat("tokens/s"),
    "×": NumberFormat("×", decimals=2, shows_side=True),
    "rough": NumberFormat("", decimals=1, shows_side=True),
    "times": NumberFormat("×", decimals=2),
    "ratio": NumberFormat("", decimals=2, shows_side=True),
    "%": NumberFormat("%", 100, decimals=0),
    "±%": NumberFormat("%", 100, decimals=0, signed=True),
    "%.1": NumberFormat("%", 100, decimals=1),
    "%.2": NumberFormat("%", 100, decimals=2),
    "share": NumberFormat("%", 100),
    "±%.1": NumberFormat("%", 100, decimals=1, signed=True),
    "count": NumberFormat("", decimals=0),
    "number": NumberFormat(""),
    "B": NumberFormat("B", prefixes=DECIMAL),
    "B/s": NumberFormat("B/s", prefixes=DECIMAL),
    "J": NumberFormat("J", prefixes=DECIMAL),
    "FLOP": NumberFormat("FLOP", prefixes=DECIMAL),
    "FLOP/s": NumberFormat("FLOP/s", prefixes=DECIMAL),
    "GiB": NumberFormat("B", prefixes=BINARY),
    "±GiB": NumberFormat("B", prefixes=BINARY, signed=True),
}
"""By name. Values are in SI units or bytes, shares of 1 for %; a format converts."""


def gib(size: float | None) -> str:
    """Bytes as text in GiB (2**30 bytes), or MiB below one of them; `n/a` for None."""
    return "n/a" if size is None else FORMATS["GiB"](size)
