"""How a requirement is judged: the first problem that holds decides."""

from __future__ import annotations

import re
from typing import Any, Literal

from common.messages import Message
from common.records import Requirement
from common.sentences import Sentences

Problem = tuple[bool, Literal["note", "warning", "failure"], Message]
"""Does it hold here; what it means; what to do."""


def judged(words: Sentences, name: Message, found: str, /, *problems: Problem, **values: Any) -> Requirement:
    """The first problem that holds decides; without one, all is well. `values` belong to the name and the remedies."""
    said = {"name": words.text(name.with_values(**values)), "found": found}
    for holds, outcome, remedy in problems:
        if holds:
            return Requirement(**said, outcome=outcome, advice=words.text(remedy.with_values(**values)))
    return Requirement(**said, outcome="ok")


def version_of(text: str | None) -> tuple[int, int]:
    """Major and minor number of "2.13.0+cu130"; (0, 0) of nothing."""
    numbers = re.findall(r"\d+", text or "")[:2]
    return (int(numbers[0]), int(numbers[1])) if len(numbers) == 2 else (0, 0)
