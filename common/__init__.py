"""What the five numbered scripts share. The measuring modules import torch; `common.analysis` never does.

Says in one line what this Python lacks, before anything of the lab is read that would end in a traceback.
"""

import sys
from importlib.util import find_spec

if sys.version_info < (3, 11):  # noqa: UP036 (an older Python has to read this file, and no further)
    version = ".".join(map(str, sys.version_info[:2]))
    sys.stderr.write(
        f"error: the lab needs Python 3.11 or newer, and {sys.executable} is {version}: run make lab "
        "PYTHON=python3.12, or each step with .venv/bin/python\n"
    )
    sys.exit(2)

for package in ("pydantic", "rich"):  # what every step imports before it reads its command line
    if find_spec(package) is None:
        sys.stderr.write(
            f"error: {package} is missing in {sys.executable}: run make lab, which makes .venv and uses it, or "
            "python -m pip install -e .\n"
        )
        sys.exit(2)
