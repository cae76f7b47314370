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


def milliseconds(value: float) -> str:
    """Seconds as 15.2 ms."""
    return f"{number(1000 * value)} ms".replace("-", "−")


def scaled(value: float, unit: str) -> str:
    """46.8 MB, 3.00 GB/s, 74.4 GFLOP/s: decimal prefixes, as sizes of messages and rates are usually told."""
    size, prefix = next(
        (pair for pair in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")) if value >= pair[0]), (1, "")
    )
    return f"{number(value / size) if value else 0} {prefix}{unit}"


def gib(size: int | float | None) -> str:
    """Bytes as text in GiB (2**30 bytes), or MiB below one of them; `n/a` for None."""
    if size is None:
        return "n/a"
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def counted(number: int, thing: str) -> str:
    """ "1 GPU", "2 GPUs"."""
    return f"{number} {thing}{'' if number == 1 else 's'}"
