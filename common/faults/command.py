"""Runs one command of a fault, in a bounded time and with nothing left behind; finds the sentence that names it."""

from __future__ import annotations

import os
import re
import secrets
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Literal, NamedTuple

from common.command_line.host_checks import LOOPBACK, name_is_found
from common.faults.acts import MARK, Act, Processes
from common.formats import printable
from common.records import Record

PATIENCE_SECONDS = 5.0
"""For what ends by itself after the command, such as the process that prints a hang's sentence last."""
STARTERS = {"python": "", "torchrun": "-m torch.distributed.run"}
MAX_LINES, MAX_LETTERS = 6, 400
TWO_LINES = re.compile(r"(?m)^(• .*)\n(?=[^•\s])")
"""Step 05 breaks its sentences at the console's width: what does not begin one belongs to the line before."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    output: str
    seconds: float
    left: int
    """Processes that had to be killed in the end."""


def run(command: str, scratch: Path, act: Act | None, limit: float) -> Ended:
    """Run it in the current folder, under this Python. Whatever interrupts, its processes are gone afterwards."""
    mark = secrets.token_hex(8)
    processes, started = Processes(mark), monotonic()
    with open(scratch / "output", "w+", errors="replace") as output:
        child = subprocess.Popen(
            ["sh", "-c", command], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            env=_variables(scratch) | {MARK: mark}, process_group=0,
        )  # fmt: skip
        acting = Thread(target=_do, args=(act, scratch / "output", processes), daemon=True)
        try:
            acting.start()
            with suppress(subprocess.TimeoutExpired):
                child.wait(limit)
            seconds = monotonic() - started
        finally:
            processes.over.set()
            if child.poll() is None:
                child.kill()
                processes.kill()
            left = processes.kill(PATIENCE_SECONDS)
            code = child.wait()
            acting.join(PATIENCE_SECONDS)
        output.seek(0)
        return Ended(code, output.read(), seconds, left)


def _do(act: Act | None, output: Path, processes: Processes) -> None:
    """Wait for the line after which something is to be done, and do it."""
    if act is None:
        return
    while not re.search(act.after, output.read_text(errors="replace")):
        if processes.over.wait(0.1):
            return
    with suppress(ProcessLookupError):  # it has ended by itself
        act.do(processes)


def _variables(scratch: Path) -> dict[str, str]:
    """The environment, with `python` and `torchrun` as this Python's own, whatever they are called outside."""
    programs = scratch / "bin"
    programs.mkdir(exist_ok=True)
    for name, module in STARTERS.items():
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        program.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if name not in ("RANK", "LOCAL_RANK", "WORLD_SIZE")}
    return kept | {
        "PATH": f"{programs}:{os.environ.get('PATH', os.defpath)}",
        "SCRATCH": str(scratch),
        "PORT": str(_free_port()),
        "TMPDIR": str(scratch),
        "LC_ALL": "C.UTF-8",  # what names a fault is looked for in English
        # torchrun's `--local-addr`, where it would wait for a name that nobody knows.
        **({} if name_is_found() else {"PET_LOCAL_ADDR": LOOPBACK}),
        "OMP_NUM_THREADS": "1",  # as torchrun sets it, with eight lines of warning
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class NamingSentence(NamedTuple):
    """The line that names a fault."""

    text: str
    where: Literal["record", "console"]


def naming_sentence(pattern: str, output: str, results: Path | None) -> NamingSentence | None:
    """The line with the pattern: of the newest record's failure in `results`, or else the last one of the output."""
    for record in reversed(records_in(results) if results else []):
        if record.failure:
            text = f"{record.failure.message.rstrip('.')}. {record.failure.advice}"
            if re.search(pattern, text):
                return NamingSentence(printable(text), "record")
    unfolded = TWO_LINES.sub(r"\1 ", TWO_LINES.sub(r"\1 ", output))
    lines = [line.strip() for line in unfolded.splitlines() if re.search(pattern, line)]
    return NamingSentence(printable(lines[-1])[:MAX_LETTERS], "console") if lines else None


def records_in(results: Path) -> list[Record]:
    """The records that runs have left, in the order of their start."""
    records = [Record.model_validate_json(path.read_bytes()) for path in results.glob("0[234]_*.json")]
    return sorted(records, key=lambda record: record.started_at)


def last_lines(output: str) -> list[str]:
    """What a user sees last: lines of an acceptable length, without what would steer the terminal."""
    lines = [printable(line.strip())[:MAX_LETTERS] for line in output.splitlines()]
    return [line for line in lines if line][-MAX_LINES:]
