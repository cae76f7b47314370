"""What the analysis has found, without a word of any language: an id, and the values that belong to it.

The sentences stand in `templates/sentences.en.toml`, one for each id, and only `page/wording.py` puts the two together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One thing that was found."""

    id: str
    """Names the sentence, `verdict.faster`."""
    values: dict[str, Any] = field(default_factory=dict)
    """What the sentence mentions: numbers in SI units, estimates, names of rows, other findings."""

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


def finding(id: str, **values: Any) -> Finding:
    """A finding, written shorter."""
    return Finding(id, values)
