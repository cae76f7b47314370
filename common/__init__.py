"""What the five numbered scripts share. The measuring modules import torch; `common.analysis` never does.

Says in one line what this Python lacks, before anything of the lab is read that would end in a traceback.
"""

import os
import sys
from importlib.util import find_spec

if sys.version_info < (3, 11):  # noqa: UP036 (an older Python has to read this file, and no further)
    version = ".".join(map(str, sys.version_info[:2]))
    sys.stderr.write(
        f"error: the lab needs Python 3.11 or newer, and {sys.executable} is {version}: run make lab "
        "PYTHON=python3.12, or each step with .venv/bin/python\n"
    )
    sys.exit(2)


def _in_one_line(kind, error, trace):
    """In place of a traceback: Ctrl-C before a script has begun, or the user's own file that Python has imported as a
    module of its standard library."""
    if kind is KeyboardInterrupt:
        sys.stderr.write("stopped from the keyboard (Ctrl-C)\n")
        return
    files = [getattr(sys.modules.get(name), "__file__", None) for name in sys.stdlib_module_names]
    frame = trace
    while frame:  # a module that fails is not among those that are there
        files.append(frame.tb_frame.f_code.co_filename)
        frame = frame.tb_next
    given = [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    foreign = []
    for file in filter(None, files):
        folder, name = os.path.split(file.removesuffix(f"{os.sep}__init__.py"))
        if name.removesuffix(".py") in sys.stdlib_module_names and os.path.abspath(folder) in given:
            foreign.append(file)
    if not foreign or not issubclass(kind, ImportError | AttributeError | NameError | TypeError | SyntaxError):
        sys.__excepthook__(kind, error, trace)
        return
    print(f"error: {foreign[-1]} has the name of a module of Python's own, and was imported in its place: rename it, "
          "or leave its folder out of PYTHONPATH", file=sys.stderr, flush=True)  # fmt: skip
    os._exit(2)


sys.excepthook = _in_one_line

for package in ("pydantic", "rich"):  # what every step imports before it reads its command line
    if find_spec(package) is None and "common.setup" not in sys.orig_argv:  # which installs them
        sys.stderr.write(
            f"error: {package} is missing in {sys.executable}: run make lab, which makes .venv and uses it, or "
            "python -m pip install -e .\n"
        )
        sys.exit(2)
