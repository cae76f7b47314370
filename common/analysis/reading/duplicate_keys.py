"""A key that stands twice in a record: JSON's readers keep the last one, and what the file says first is lost."""

from __future__ import annotations

import json
from collections import Counter


def duplicate_key(content: bytes) -> str | None:
    """The first key that an object of this JSON text has twice; None where there is none. ValueError: no JSON."""
    try:
        json.loads(content, object_pairs_hook=_without_duplicates)
    except _DuplicateError as error:
        return str(error)
    return None


class _DuplicateError(Exception):
    """The message is the key."""


def _without_duplicates(pairs: list[tuple[str, object]]) -> None:
    """Keeps nothing: what was read is not needed."""
    counts = Counter(key for key, _ in pairs)
    if len(counts) < len(pairs):
        raise _DuplicateError(counts.most_common(1)[0][0])
