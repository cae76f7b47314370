"""What is said, without a word of any language: an id, and the values that belong to it.

The sentences stand in `templates/*.toml`, one for each id; `common/sentences.py` puts the two together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Message:
    """One sentence, or a part of one."""

    id: str
    """Names the sentence, `verdict.faster`."""
    values: dict[str, Any] = field(default_factory=dict)
    """What the sentence mentions: numbers in SI units, estimates, names of rows, other messages."""

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


def message(id: str, **values: Any) -> Message:
    """A message, written shorter."""
    return Message(id, values)
