"""The last line on the console, below torchrun's report."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from common.formats import printable


def say_last(text: str, folder: Path | None) -> None:
    """Print a line once torchrun, this process's parent, is gone: else it stands above a hundred lines of its report.

    Where torchrun is going to start the ranks again, nothing is over, and nothing said. By then no rank needs `folder`
    any more, and it is removed.
    """
    if int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", 0)) > int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)):
        text = ""
    code = (
        "import shutil, sys, time\n"
        "def is_there():\n"  # one that has ended stays in /proc until whoever started it has read all it printed
        f"    try: return open('/proc/{os.getppid()}/stat').read().rpartition(')')[2].split()[0] != 'Z'\n"
        "    except OSError: return False\n"
        "until = time.monotonic() + 45\n"
        "while time.monotonic() < until and is_there(): time.sleep(0.05)\n"
        "print(sys.argv[1], end='', file=sys.stderr)\n"
        "if sys.argv[2]: shutil.rmtree(sys.argv[2], ignore_errors=True)"
    )
    with suppress(OSError):
        command = [sys.executable, "-S", "-c", code, f"\n{printable(text)}\n" if text else "", str(folder or "")]
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
