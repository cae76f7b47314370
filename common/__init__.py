"""What the five numbered scripts share. The measuring modules import torch; `common.analysis` never does."""

import os
import sys


def _tell_of_shadows(kind, error, trace):
    """In place of a traceback: the user's own file that Python has imported as a module of its standard library."""
    files = [getattr(sys.modules.get(name), "__file__", None) for name in sys.stdlib_module_names]
    frame = trace
    while frame:  # a module that fails is not among those that are there
        files.append(frame.tb_frame.f_code.co_filename)
        frame = frame.tb_next
    foreign = [file for file in files if file and _is_shadow(file)]
    if not foreign or not issubclass(kind, ImportError | AttributeError | NameError | TypeError | SyntaxError):
        sys.__excepthook__(kind, error, trace)
        return
    print(f"error: {foreign[-1]} has the name of a module of Python's own, and was imported in its place: rename it, "
          "or leave its folder out of PYTHONPATH", file=sys.stderr, flush=True)  # fmt: skip
    os._exit(2)


def _is_shadow(file: str) -> bool:
    """Whether a file has the name of a module of the standard library and is none, nor any package's."""
    folder, name = os.path.split(file)
    if name == "__init__.py":
        folder, name = os.path.split(folder)
    given = [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    return name.removesuffix(".py") in sys.stdlib_module_names and os.path.abspath(folder) in given


sys.excepthook = _tell_of_shadows
