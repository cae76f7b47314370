"""What the command line of 02, 03 or 04 asked for, as plain typed data. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from common.records import DdpOptions, Method, setting
from common.sentences import Language


class TrainingOptions(BaseModel):
    """What is asked for: the settings of `RunConfig`, and what no record has. None: devices or data decide."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method
    settings: dict[str, Any]
    """Of `RunConfig`, by its fields, as the command line says them; `loader_workers` are those of one device."""
    ddp: DdpOptions | None = None
    """Set by step 04 alone."""
    gpus: str | None = None
    """Device numbers, `0,1,2,3`; step 03 alone has this flag."""

    threads: Literal["new", "kept"] = "new"
    """Of DataParallel's forward passes; step 03 alone has this flag."""

    batch_size: int = setting(64, gt=0, group="work", metavar="SAMPLES", after="model", help="{batch_size}")
    """Samples in one optimizer step of one process: the global batch in 02 and 03, that of one rank in 04."""
    amp: bool = setting(
        False, either="precision", after="precision", help="short for --precision fp16 on GPUs, bf16 on CPU cores"
    )
    auto_accumulate: bool = setting(
        False, after="accumulation_steps", help="out of memory: start anew with more --accumulation-steps"
    )
    checkpoint_dir: Path | None = setting(None, metavar="DIR", help="write checkpoints there", otherwise="none")
    checkpoint_every: int | None = setting(
        None, gt=0, metavar="STEPS", help="besides the one after each epoch", otherwise="only that one"
    )
    """Optimizer steps."""
    resume: str | None = setting(
        None,
        metavar="FILE",
        help="go on from this checkpoint; auto: from the newest in --checkpoint-dir",
        otherwise="start anew",
    )
    """A checkpoint, or `auto` for the newest in `checkpoint_dir`."""
    tensorboard: Path | None = setting(None, metavar="DIR", help="write logs for TensorBoard there", otherwise="none")

    device: Literal["auto", "cuda", "cpu"] = setting(
        "auto", group="measurement", help="auto: GPUs, or CPU cores where there are none"
    )
    anatomy_steps: int | None = setting(
        None, group="measurement", metavar="N", help="steps taken apart", on_gpus=20, on_cores=6
    )
    trace: bool = setting(False, group="measurement", help="also write a trace of a few steps, for Perfetto")
    results_dir: Path = setting(Path("results"), group="measurement", metavar="DIR", help="where the record goes")
    lang: Language | None = setting(
        None, group="measurement", help="language of what is printed", otherwise="the locale's"
    )
    """Of what is printed; records know nothing of it."""
    quiet: bool = setting(False, group="measurement", help="print errors only")

    @property
    def data_dir(self) -> Path | None:
        """The image tree."""
        folder = self.settings.get("data_dir")
        return Path(folder) if folder else None
