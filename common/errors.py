"""Bad input, in one line."""


class UsageError(Exception):
    """Bad input. The message is one line that says what is wrong and how to fix it."""

    trace: tuple[str, ...] = ()
    """More lines, where it comes from code of the user's own: theirs alone."""
