"""How the tests of GPUs run a script."""

import os
from pathlib import Path

from conftest import SQUEEZENET, environment, records_in, run_script

GPU = environment()
del GPU["CUDA_VISIBLE_DEVICES"]
GPU |= {name: value for name, value in os.environ.items() if name == "CUDA_VISIBLE_DEVICES"}


def run(script: str, folder: Path, *arguments: object, ranks: int = 0, **variables: str) -> dict:
    """A small run on the GPUs; its record."""
    quick = ["--anatomy-steps", 2, "--workers", 1]
    process = run_script(
        script,
        *SQUEEZENET,
        "--model",
        "resnet18",
        *quick,
        *arguments,
        "--results-dir",
        folder,
        ranks=ranks,
        env=GPU | variables,
    )
    assert process.returncode == 0, process.stderr
    return records_in(folder)[-1]
