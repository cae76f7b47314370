"""What `--model` may name: a model of a library, or one of your own in a file. Imports no torch."""

import difflib
import hashlib
import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from common.errors import UsageError

LIBRARIES = {"timm": "timm", "hf": "transformers"}
"""Their packages, by the beginning of the name."""
IN_A_FILE = re.compile(r"(?P<path>.+\.py)(?::(?P<function>\w+))?")


class ModelName(NamedTuple):
    """A name, and where it is to be looked up."""

    library: str
    """`torchvision`, `timm`, `hf`, or `file`."""
    name: str


class NameInFile(NamedTuple):
    """A function of a Python file: `my_model.py:build`."""

    path: Path
    function: str


def model_name(model: str) -> ModelName:
    """`resnet50`, `timm:convnext_tiny`, `hf:gpt2?n_layer=4`, `my_model.py:build`."""
    if IN_A_FILE.fullmatch(model):
        return ModelName("file", model)
    library, colon, name = model.partition(":")
    return ModelName(library, name) if colon and library in LIBRARIES else ModelName("torchvision", model)


def name_in_file(text: str, default: str, flag: str) -> NameInFile:
    """A file and its function, `default` where none is named. Raises `UsageError` where it is no such name, or there is
    no such file."""
    match = IN_A_FILE.fullmatch(text)
    if match is None:
        raise UsageError(f"{flag} {text}: give a file and a function of it, {flag} my_model.py:{default}")
    path = Path(match["path"])
    if not path.is_file():
        raise UsageError(f"{flag} {text}: there is no file {path} in {Path.cwd()}")
    return NameInFile(path, match["function"] or default)


def source_of(model: str) -> str:
    """What decides besides its name which model this is: the version of a library, or the hash of a file.

    Nothing for torchvision, whose version every record has. Raises `UsageError` for a library or a file that is not
    there.
    """
    library, _ = model_name(model)
    if library == "torchvision":
        return ""
    if library == "file":
        return sha256(name_in_file(model, "build", "--model").path)
    package = LIBRARIES[library]
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        raise UsageError(
            f"--model {model} needs {package}, which is not installed: python -m pip install {package}"
        ) from None


def check_model_name(model: str) -> None:
    """What can be found without torch, before anything is started. Raises `UsageError` for a classifier that
    torchvision lacks, and for a library or a file that is not there."""
    source_of(model)
    names = torchvision_names()
    if model_name(model).library == "torchvision" and names and model not in names:
        raise no_such_classifier(model, names)


def torchvision_names() -> list[str]:
    """Torchvision's image classifiers, from its source, for its import takes seconds; nothing where it is missing."""
    spec = find_spec("torchvision")
    files = Path(spec.origin).with_name("models").glob("*.py") if spec and spec.origin else ()
    registered = re.compile(r"^@register_model\(\).*?^def (\w+)", re.MULTILINE | re.DOTALL)
    return sorted(name for file in files for name in registered.findall(file.read_text(encoding="utf-8")))


def no_such_classifier(name: str, names: Sequence[str]) -> UsageError:
    """What to say where torchvision has these models, and none of this name."""
    close = ", ".join(close_names(name, names, "resnet18", "resnet50", "vit_b_16"))
    return UsageError(
        f"no torchvision classification model is called {name!r}; close: {close}; other models: timm:NAME, "
        "hf:TYPE, my_model.py:build (docs/models.md)"
    )


def close_names(name: str, names: Sequence[str], *otherwise: str) -> list[str]:
    """Up to four of the names, which resemble this one; `otherwise` where none does."""
    return difflib.get_close_matches(name.lower(), names, n=4, cutoff=0.5) or list(otherwise)


def sha256(path: Path) -> str:
    """The hash of a file, `sha256:` and 64 digits."""
    try:
        return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    except OSError as error:
        raise UsageError(f"cannot read {path} ({error.strerror})") from None
