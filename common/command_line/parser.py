"""How the lab reads a command line: one flag, one meaning; bad input is one line. Imports no torch."""

import argparse
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from common.command_line.terminal import end_with_parent, forgive_output, tell
from common.errors import UsageError

PACKAGES = ("jinja2", "markupsafe", "matplotlib", "numpy", "pandas", "PIL", "scipy", "torch", "torchvision")
INSTALL = "run make lab, which makes .venv and uses it, or python -m pip install -e ."
TORCH_LOADS = os.path.join("torch", "__init__.py")
COUNTS = {"SLURM_STEP_NUM_TASKS": "srun", "OMPI_COMM_WORLD_SIZE": "mpirun", "PMI_SIZE": "mpirun"}
"""Where those who start several processes say how many."""
SECONDS_FOR_THE_FIRST = 20.0
"""On a busy machine it can be seconds behind. What another rank has found after that is its own trouble, and said."""
MAX_WHOLE = 10**12
"""No count that anybody could mean is larger, and torch's own limits (2**63) lie far above."""


def start(main: Callable[[], int | None]) -> NoReturn:
    """Run a script's `main` and exit: 0 or the number it returns, 2 with one line on stderr after a `UsageError`."""
    forgive_output()
    stopped = _ctrl_c_noted()
    if under_torchrun() and sys.platform == "linux":
        # A rank gets SIGTERM when torchrun dies: else it would train on, unseen, or wait to meet the others.
        end_with_parent()
        if os.getppid() == 1 and b"torch" not in Path("/proc/1/cmdline").read_bytes():  # dead before it could be asked
            sys.exit(1)
    try:
        code = _with_all_packages(main, stopped)
    except UsageError as error:
        if under_torchrun() and os.environ["LOCAL_RANK"] != "0":
            # All of them find the same. Torchrun ends the others as soon as one has ended: the first one is to speak.
            try:
                time.sleep(SECONDS_FOR_THE_FIRST)
            except KeyboardInterrupt:  # torchrun's SIGTERM, or Ctrl-C
                sys.exit(2)
        tell(f"error: {error}", *error.trace)
        sys.exit(2)
    except KeyboardInterrupt:  # before a run began, or after its record was written
        tell("stopped from the keyboard (Ctrl-C)")
        sys.exit(130)
    sys.exit(code)


def _ctrl_c_noted() -> list[int]:
    """Has a number in it once Ctrl-C has come, which raises KeyboardInterrupt as ever; until a run has a record."""
    noted: list[int] = []

    def note(number: int, frame: object) -> None:
        noted.append(number)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:  # else it is ignored, and stays so
        signal.signal(signal.SIGINT, note)
    return noted


def _with_all_packages(main: Callable[[], int | None], stopped: list[int]) -> int | None:
    """What `main` returns. Raises `UsageError` where a package of the lab's is not there, or torch does not load."""
    try:
        return main()
    except ImportError as error:
        if stopped:  # torch swallows it where it imports numpy, which then does not load a second time
            raise KeyboardInterrupt from None
        name = (error.name or "").partition(".")[0]
        files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
        if name in PACKAGES and isinstance(error, ModuleNotFoundError):
            raise UsageError(f"{name} is missing in {sys.executable}: {INSTALL}") from None
        if any(file.endswith(TORCH_LOADS) for file in files):
            reason = str(error).splitlines()[0]
            raise UsageError(f"torch does not load in {sys.executable} ({reason}): {INSTALL}") from None
        raise


def under_torchrun() -> bool:
    """Whether torchrun has started this process, and not a person in whose environment RANK happens to be set."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def refuse_several_processes() -> None:
    """Raises `UsageError` where torchrun, srun or mpirun has started several copies of a script of one process."""
    name = Path(sys.argv[0]).name
    starters = COUNTS | ({"WORLD_SIZE": "torchrun"} if under_torchrun() else {})
    for variable, starter in starters.items():
        if os.environ.get(variable, "1") != "1":
            raise UsageError(f"{starter} has started several copies of {name}, which is one process: run python {name}")


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows every default, and the description as it was written."""


class Parser(argparse.ArgumentParser):
    """argparse, but an error is one line (a `UsageError`) instead of the whole usage."""

    def __init__(self, **more) -> None:
        # An abbreviation that works today is ambiguous with the next flag, and the printed next command would keep it.
        super().__init__(formatter_class=HelpFormatter, allow_abbrev=False, **more)

    def error(self, message: str) -> NoReturn:
        """As argparse calls it for a wrong command line: raises `UsageError`."""
        if re.search("--local[-_]rank", message):
            raise UsageError(
                "--local-rank comes from python -m torch.distributed.launch, which starts one process where "
                "--nproc_per_node is left out: start 04 with torchrun --standalone --nproc_per_node=2 "
                "04_ddp_training.py, and the other steps with python"
            )
        raise UsageError(f"{message} (see {self.prog} --help)")


def _number(kind: type, accepts: Callable[[Any], bool], meaning: str) -> Callable[[str], Any]:
    """An argument type: a number that is accepted."""

    def read(text: str) -> Any:
        with suppress(ValueError):
            if accepts(value := kind(text)):
                return value
        raise argparse.ArgumentTypeError(f"must be {meaning}, not {text!r}")

    return read


positive_int = _number(int, lambda value: 1 <= value <= MAX_WHOLE, "a whole number of at least 1 and at most 10**12")
count = _number(int, lambda value: 0 <= value <= MAX_WHOLE, "a whole number of at least 0 and at most 10**12")
positive_float = _number(float, lambda value: 0 < value <= 1e6, "a number above 0 and at most a million")
"""A million seconds are eleven days, a million MiB are a TiB."""
nonnegative_float = _number(float, lambda value: 0 <= value <= 1e30, "a number of at least 0")
"""As large as a record can hold."""


def otherwise(default: str) -> str:
    """The end of a help text that names its own default, so that argparse does not add "(default: None)" to it."""
    return f" (default: {default})%(default).0s"
