"""Python files of the user's own: a function out of one, and their errors in a few lines that name their places."""

import difflib
import hashlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from common.command_line.model_names import name_in_file, sha256
from common.errors import UsageError
from common.records import RunConfig

ROOT = Path(__file__).parents[2]
THE_LABS = ("common", "lessons", "tests", "benchmarks")
MAX_FRAMES = 4

MOVES_ITSELF = "leave out .cuda() and .to(): the lab moves the model and its batches to each device"
ADVICE = {
    "moves itself to a GPU|NVIDIA driver|not compiled with CUDA|No CUDA GPUs": MOVES_ITSELF,
    "same device": "make tensors where the inputs are (device=x.device), and hold constants with register_buffer",
    "inplace operation": "give the tensor or buffer a new value (self.seen = self.seen + 1) in place of +=",
    "does not require grad": "no parameter has a part in the loss: leave out detach(), no_grad() and argmax()",
    "shapes cannot be multiplied": "the layers before give another shape than this one takes",
    "must match the size": "the two shapes do not fit each other",
    "stack expects each tensor": "samples of different shapes make no batch: pad or crop them to one",
    r"zip\(\) argument": "samples of different structures make no batch: let all have the same members",
    "to have": "this layer takes another shape than it gets",
    "missing|unexpected keyword": "the names of the inputs are those of forward's arguments",
    "positional argument": "a tuple of inputs is given to forward as its arguments, one by one",
    "not implemented for|dtype": "make the inputs of the dtype that the layer takes (a Linear: float32; an Embedding: "
    "int64)",
    "Expected tensor for argument": "make the inputs of the dtype that the layer takes (an Embedding: int64)",
    "out of range": "an index is larger than the table: see its size, and the values of the inputs",
    "out of bounds": "a label or an index is larger than there are classes or rows",
    "more than 1 value per channel": "BatchNorm needs two samples for each device: raise --batch-size",
    "No module named": "install it, or correct the name",
}
"""What to do, by words of the error (a regular expression)."""


class UserCodeError(UsageError):
    """An error in the user's file: its place, what it says, what to do, and their own frames of the traceback."""


class _MovesItselfError(RuntimeError):
    """Raised in place of a call of `.cuda()`."""


class UserFile:
    """A Python file of the user's own: what a function of it returns, and its errors with their places."""

    def __init__(self, text: str, default: str, flag: str) -> None:
        """`text`: what `flag` says, a file and its function, `default` where it names none. Raises `UsageError`."""
        self.path, self.function = name_in_file(text, default, flag)
        self._flag = flag

    def call(self) -> tuple[Any, Callable[[], Any]]:
        """What the function returns, and the function; the file is imported under its own name. Raises `UsageError`."""
        path, name = self.path.resolve(), self.path.stem
        module = sys.modules.get(name)
        if module is None:
            sys.path.insert(1, str(path.parent))  # for what lies beside it, and for the loader's workers
            # By its place: import_module would look for a package where the name has a dot, and could find another.
            spec = importlib.util.spec_from_file_location(name, path)
            assert spec is not None
            assert spec.loader is not None
            module = sys.modules[name] = importlib.util.module_from_spec(spec)
            with self.errors():
                spec.loader.exec_module(module)
        elif getattr(module, "__file__", None) != str(path):
            raise UsageError(f"{self._flag} {self.path}: {name} is the name of another module; rename the file")
        function = getattr(module, self.function, None)
        if not callable(function):
            callables = {key: value for key, value in vars(module).items() if callable(value)}
            own = [key for key, value in callables.items() if getattr(value, "__module__", "") == name]
            close = difflib.get_close_matches(self.function, own, n=3, cutoff=0.4) or own[:3]
            there = f"there is no function {self.function}; it has {', '.join(close) or 'no function'}"
            raise UsageError(f"{self._flag} {self.path}:{self.function}: {there}")
        with self.errors():
            return function(), function

    def source(self) -> str:
        """The hash of the file and of all modules from its folder that have been imported, `sha256:` and 64 digits."""
        folder, own = self.path.resolve().parent, {self.path.resolve()}
        for name, module in list(sys.modules.items()):
            file, beneath = Path(getattr(module, "__file__", None) or ""), folder.joinpath(*name.split("."))
            if file.resolve() in (beneath.with_suffix(".py"), beneath / "__init__.py") and self._owns(str(file)):
                own.add(file.resolve())
        if len(own) == 1:
            return sha256(self.path)
        hashes = "".join(f"{file.relative_to(folder)} {sha256(file)}\n" for file in sorted(own))
        return f"sha256:{hashlib.sha256(hashes.encode()).hexdigest()}"

    @contextmanager
    def errors(self, doing: str = "", at: str = "") -> Iterator[None]:
        """What the user's code raises inside becomes a `UserCodeError`.

        `doing` says what it was called with, `at` where it is defined, for an error that no line of it has raised.
        """

        def refused(*_: object, **__: object) -> None:
            raise _MovesItselfError("the model moves itself to a GPU")

        kept = nn.Module.cuda, torch.Tensor.cuda
        nn.Module.cuda = torch.Tensor.cuda = refused  # an error on hosts with and without GPUs
        try:
            yield
        except (UsageError, MemoryError, torch.OutOfMemoryError, KeyboardInterrupt):
            raise
        except (Exception, SystemExit) as error:
            raise self.explained(error, doing, at) from None
        finally:
            nn.Module.cuda, torch.Tensor.cuda = kept

    def explained(self, error: BaseException, doing: str = "", at: str = "") -> UserCodeError:
        """The error in their words: place, what it says, what to do, and where it came from."""
        text = str(error).strip().split("\n")[0] or type(error).__name__
        if isinstance(error, SyntaxError) and error.filename:
            return UserCodeError(f"{self._short(error.filename)}:{error.lineno}: {type(error).__name__}: {error.msg}")
        frames = self.frames(error)
        place = f"{self._short(frames[-1].filename)}:{frames[-1].lineno}" if frames else at or str(self.path)
        what = text if isinstance(error, _MovesItselfError) else f"{type(error).__name__}: {text}"
        advice = next((advice for words, advice in ADVICE.items() if re.search(words, text)), "")
        problem = UserCodeError(f"{place}: {what}{f' ({doing})' if doing else ''}{f'; {advice}' if advice else ''}")
        problem.trace = tuple(
            f"  {self._short(one.filename)}:{one.lineno} in {one.name}: {one.line}" for one in frames[-MAX_FRAMES:]
        )
        return problem

    def frames(self, error: BaseException) -> list[traceback.FrameSummary]:
        """Of an error's traceback, those in the file and in what lies beside it."""
        return [frame for frame in traceback.extract_tb(error.__traceback__) if self._owns(frame.filename)]

    def place_of(self, thing: object) -> str:
        """Where a function or class is defined, `my_model.py:12`; else the file alone."""
        try:
            target = thing if inspect.isroutine(thing) or inspect.isclass(thing) else type(thing)
            file, (_, line) = inspect.getsourcefile(target), inspect.getsourcelines(target)
        except (OSError, TypeError):
            return str(self.path)
        return f"{self._short(file)}:{line}" if file and self._owns(file) else str(self.path)

    def _owns(self, filename: str) -> bool:
        """Whether a file is the user's own: in the folder of this one, and neither the lab's nor a package's."""
        file, folder = Path(filename).resolve(), self.path.resolve().parent
        if not file.is_file() or folder not in file.parents or "site-packages" in file.parts:
            return False
        inside = file.relative_to(ROOT).parts if ROOT in file.parents else ("",)
        return inside[0] not in THE_LABS and not inside[0][:2].isdigit()

    def _short(self, filename: str) -> str:
        """A file as the user has named it."""
        file = Path(filename)
        return str(self.path.with_name(file.name)) if file.resolve().parent == self.path.resolve().parent else str(file)


def file_of_model(config: RunConfig) -> UserFile | None:
    """The file of `--model`; None where a library has it."""
    return UserFile(config.model, "build", "--model") if config.model_source.startswith("sha256") else None


def kind_of(value: Any) -> str:
    """What a value is, for a message: `a tuple of 3`, `the class Net and no object of it`."""
    if isinstance(value, type):
        return f"the class {value.__name__} and no object of it"
    if value is None:
        return "nothing"
    kind = type(value).__name__
    return f"a {kind} of {len(value)}" if isinstance(value, tuple | list) else f"a {kind}"
