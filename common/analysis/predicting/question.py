"""What the command line of step 05 asks about the future."""

from __future__ import annotations

from dataclasses import dataclass

from common.analysis.predicting.links import Link, read_counts, read_link
from common.errors import UsageError


@dataclass(frozen=True)
class Question:
    """What the command line asks for; by default, what the machine and the measured rows suggest."""

    counts: tuple[int, ...] = ()
    link: Link | None = None
    between: Link | None = None
    per_node: int | None = None

    @property
    def is_asked(self) -> bool:
        """Whether the command line asks anything at all."""
        return self != Question()


def read_question(counts: str | None, link: str | None, between: str | None, per_node: int | None) -> Question:
    """The flags --predict, --link, --inter-node and --per-node as they were typed. Raises `UsageError`."""
    if per_node and not between:
        raise UsageError(f"--per-node {per_node} needs --inter-node 50GB/s,5us: how nodes are joined")
    return Question(
        counts=read_counts(counts, "--predict") if counts else (),
        link=read_link(link, "--link") if link else None,
        between=read_link(between, "--inter-node") if between else None,
        per_node=per_node,
    )
