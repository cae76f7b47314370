"""What the scripts say: progress, tables, messages. Rank 0 speaks, the others are given a console that is silent."""

from __future__ import annotations

from rich.console import Console


def open_console(rank: int = 0, quiet: bool = False) -> Console:
    """The console of this process: silent on every rank but 0, and everywhere under `--quiet`.

    Where there is no terminal (a pipe, a log) lines are 120 characters wide, so that tables do not break at 80.
    """
    plain = Console()
    return Console(quiet=quiet or rank != 0, highlight=False, width=None if plain.is_terminal else 120)


def gib(size: int | float | None) -> str:
    """Bytes as text in GiB (2**30 bytes), or MiB below one of them; `n/a` for None."""
    if size is None:
        return "n/a"
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
