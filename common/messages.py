"""What is said, in English, and the values that belong to it.

A sentence stands where it is decided; `common/sentences.py` says it in the reader's language and puts its values in
their places. Translations are found by the English text, in `templates/*.po`: docs/style.md says how.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Message:
    """One sentence, or a part of one."""

    text: str
    """In English, with the names of its values in braces: `{row} is {ratio:times} as fast`."""
    values: dict[str, Any] = field(default_factory=dict)
    """What the sentence mentions: numbers in SI units, estimates, names of rows, other messages."""
    context: str = ""
    """Tells texts apart that are one in English and two in another language (gettext's msgctxt)."""

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def with_values(self, **values: Any) -> Message:
        """The same sentence, of these values."""
        return replace(self, values=values)


def message(text: str, /, **values: Any) -> Message:
    """A message, written shorter. Its text is a literal, for that is what translators are given."""
    return Message(text, values)


def message_in(context: str, text: str, /, **values: Any) -> Message:
    """A message whose text has another translation in another context."""
    return Message(text, values, context)
