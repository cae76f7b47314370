"""What a row is called, until a language says it."""

from __future__ import annotations

from dataclasses import dataclass

from common.records import METHODS, Method


@dataclass(frozen=True)
class RowName:
    """`DDP × 2 on 2 nodes (b) with --one-bucket`."""

    method: Method
    devices: int
    nodes: int = 1
    letter: str = ""
    """Tells rows of one method on as many devices apart."""
    options: str = ""
    """The flags of DDP that were tried here."""
    is_valid: bool = True

    def __str__(self) -> str:
        """As the CSV files name it, in no language: `ddp x2 nodes=2 b --one-bucket`."""
        parts = [self.method, f"x{self.devices}" if METHODS[self.method].is_parallel else "",
                 f"nodes={self.nodes}" if self.nodes > 1 else "", self.letter, self.options,
                 "" if self.is_valid else "(not valid)"]  # fmt: skip
        return " ".join(filter(None, parts))
