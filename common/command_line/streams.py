"""What the scripts print on: a stream that no reader and no encoding can make a run fail with."""

from __future__ import annotations

import io
import sys

from common.formats import printable


class _Lossy(io.FileIO):
    """A file descriptor that takes everything; what cannot be written (the reader is gone, the disk full) is lost."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "wb", closefd=False)
        self.lost: OSError | None = None

    def write(self, data) -> int:
        if self.lost is None:
            try:
                return super().write(data)
            except OSError as error:
                self.lost = error
        return memoryview(data).nbytes


def forgive_output() -> None:
    """From here on, printing raises neither OSError nor UnicodeEncodeError: hours of training are worth more."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        try:
            number = stream.fileno()
        except (AttributeError, OSError, ValueError):  # closed by whoever started us, or a test's own stream
            if stream is None:
                setattr(sys, name, io.StringIO())
            continue
        stream.flush()
        setattr(
            sys,
            name,
            io.TextIOWrapper(
                io.BufferedWriter(_Lossy(number)),
                encoding=stream.encoding,
                errors="replace",
                line_buffering=stream.line_buffering or name == "stderr",
                write_through=stream.write_through,
            ),
        )


def tell(*lines: str) -> None:
    """Lines on stderr, without what would steer the terminal: names from files and records may hold anything."""
    print(*(printable(line) for line in lines), sep="\n", file=sys.stderr, flush=True)
