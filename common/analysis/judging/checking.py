"""What a self-check is: a question with an id, its outcome, and the reason as a message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from common.content.messages import Message, message
from common.content.sections import Mark

Outcome = Literal["passed", "warning", "failed", "not applicable", "not measured"]
Spoilt = Literal["speed", "memory", "anatomy"]


@dataclass(frozen=True)
class Check:
    """One answered question about one run, or one row of the table."""

    id: str
    outcome: Outcome
    reason: Message
    spoils: Spoilt = "speed"
    """The number that a failure spoils, so that the page can put the warning beside it."""
    share: float | None = None
    """Of the time, or of the number: how much it is about."""

    @property
    def is_trouble(self) -> bool:
        """Whether it must stand beside the number that it spoils."""
        return self.outcome in ("failed", "warning")

    @property
    def mark(self) -> Mark:
        """What stands beside that number."""
        if self.id in ("warm_up", "steps"):
            text = message(f"mark.{self.id}", **self.reason.values)
        else:
            text = message("mark.plain" if self.share is None else "mark.share", check=self.id, share=self.share)
        return Mark(text, self.outcome, self.reason)


def answer(id: str, outcome: Outcome, reason: str, **values: Any) -> Check:
    """A check whose reason is the sentence `check.<id>.<reason>`."""
    return Check(id, outcome, Message(f"check.{id}.{reason}", values), share=values.get("share"))
