"""Where matplotlib keeps its list of fonts. It takes the standard library alone: matplotlib is not imported yet."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from pathlib import Path


def prepare_matplotlib() -> None:
    """Where matplotlib can write nothing at home, give it a folder that is removed when this process ends.

    By itself it would make one for each process, leave those of processes that are killed, and print three lines.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    if not all(map(_can_write, _usual_folders())):
        _temporary.append(tempfile.TemporaryDirectory(prefix="lab-matplotlib-"))
        os.environ["MPLCONFIGDIR"] = _temporary[-1].name


_temporary: list[tempfile.TemporaryDirectory] = []
"""Removed with this object, at the end of the process."""


def _usual_folders() -> list[Path]:
    """As matplotlib chooses them."""
    given, home = os.environ.get("MPLCONFIGDIR"), Path(os.path.expanduser("~"))
    if given:
        return [Path(given)]
    if sys.platform in ("win32", "darwin"):
        return [home / ".matplotlib"]
    folders = {"XDG_CONFIG_HOME": home / ".config", "XDG_CACHE_HOME": home / ".cache"}
    return [Path(os.environ.get(name) or usual) / "matplotlib" for name, usual in folders.items()]


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.access(folder, os.W_OK)
    except OSError:
        return False
