"""The methods that are compared, a row each: to add one takes its row here, and a script, or a flag of one.

What a page says of one method alone (a reason, a lesson) has sentences of its own; names come from here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator

Step = Literal["02", "03", "04"]


@dataclass(frozen=True)
class TrainingMethod:
    """What the lab has to know of a way to train."""

    name: str
    """As records have it."""
    step: Step
    script: str
    colour: str
    """In figures, and on the page where that is light."""
    dark_colour: str
    marker: Literal["s", "^", "o", "D"]
    """matplotlib's: square, triangle, circle, diamond."""
    short: str = ""
    """`DP`, in every language; empty for one device, which every language calls by its own words."""
    title: str = ""
    """`DataParallel`."""
    flags: str = ""
    """What its script is started with to train by this method."""
    launcher: Literal["python", "torchrun"] = "python"
    """torchrun starts a process for each device; python starts one for all of them."""
    devices_flag: str = ""
    """What names the devices, of the script or of torchrun; empty where there is always one."""
    variant_of: str = ""
    """The method that this one changes a single thing of: it is none of the numbered steps."""
    synchronises_gradients: bool = False
    """Whether processes average their gradients by all-reduce, beside the backward pass."""

    @property
    def is_parallel(self) -> bool:
        """Whether several devices may train together."""
        return bool(self.devices_flag)

    @property
    def has_replicas(self) -> bool:
        """Whether one process drives a replica of the model on every device, from a batch of all of them."""
        return self.is_parallel and self.launcher == "python"

    def processes(self, devices: int) -> int:
        """How many processes train on so many devices."""
        return devices if self.launcher == "torchrun" else 1

    def command(self, arguments: str, devices: int = 1, gpus: Sequence[int] = (), address: str = "") -> str:
        """What a person types to train on so many devices of one host. `gpus`: where each replica goes, if not to the
        first ones. `address`: the host's own, for a torchrun that would not find it by its name."""
        starter, places = "python", ""
        if self.launcher == "torchrun":
            local = f" --local-addr={address}" if address else ""
            starter = f"torchrun --standalone{local} {self.devices_flag}={devices}"
        elif self.is_parallel:
            places = f"{self.devices_flag} {','.join(map(str, gpus or range(devices)))}"
        return " ".join(word for word in (starter, self.script, arguments, places, self.flags) if word)


METHODS: dict[str, TrainingMethod] = {
    method.name: method
    for method in (
        # Blue and vermilion of Okabe and Ito's palette, which colour-blind readers tell apart, and a neutral.
        TrainingMethod("single", "02", "02_baseline_single_gpu.py", "#6f7782", "#a5aeb9", "s"),
        TrainingMethod("dp", "03", "03_dataparallel_training.py", "#d55e00", "#f08a3c", "^", "DP", "DataParallel",
                       devices_flag="--gpus"),
        TrainingMethod("dp_kept_threads", "03", "03_dataparallel_training.py", "#009e73", "#4fd1a8", "D",
                       "DP, kept threads", "DataParallel with kept threads", flags="--threads kept", variant_of="dp",
                       devices_flag="--gpus"),
        TrainingMethod("ddp", "04", "04_ddp_training.py", "#0072b2", "#56b0ec", "o", "DDP", "DistributedDataParallel",
                       launcher="torchrun", devices_flag="--nproc_per_node", synchronises_gradients=True),
    )
}  # fmt: skip
"""By name, in the order of the lesson, which is that of rows and columns."""


def _is_known(name: str) -> str:
    if name not in METHODS:
        raise ValueError(f"{name!r} is none of {', '.join(METHODS)}")
    return name


Method = Annotated[str, AfterValidator(_is_known)]
"""A method's name."""


def method_order(name: Method) -> int:
    """A method's place among the others."""
    return list(METHODS).index(name)
