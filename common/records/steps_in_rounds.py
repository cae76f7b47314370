"""Experiments on a step: whole steps of several kinds, taken in rounds."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import model_validator

from common.records.values import Count, FailFastList, PositiveCount, RecordModel, Texts, Times

ForwardThread = Literal["main_thread", "new_thread", "kept_thread"]
"""Where one device's forward pass runs: in the thread that runs the step, in one that has just started, or in one that
lives on from step to step."""
FORWARD_THREADS: tuple[ForwardThread, ...] = get_args(ForwardThread)
REPLICATED_KINDS = (
    "new_threads_new_replicas",
    "kept_threads_new_replicas",
    "new_threads_kept_replicas",
    "kept_threads_kept_replicas",
    "one_thread_new_replicas",
)
"""Kinds of DataParallel's steps: torch's own first, then the others of a 2 × 2 design, then replicas in turn."""
MIN_SLOWDOWN = 2
"""A layer pays for new threads where its quickest pass in one took more than so many times its slowest elsewhere."""


class StepsInRounds(RecordModel):
    """Steps of several kinds, one of each in every round, in an order that is drawn anew for each round.

    Every step begins and ends with idle devices.
    """

    seed: Count
    """Of the orders."""
    orders: FailFastList[Texts]
    """The kinds of each round, in the order in which they were taken."""
    seconds: dict[str, Times]
    """By kind, an entry a round."""
    warm_up_seconds: dict[str, Times]
    """By kind: steps before the first round, until their times had settled, or as many as there may be."""
    settled: dict[str, bool]
    """By kind, whether they had."""

    @model_validator(mode="after")
    def _rounds_are_whole(self) -> StepsInRounds:
        kinds = sorted(self.seconds)
        if any(sorted(order) != kinds for order in self.orders):
            raise ValueError(f"a round that does not have one step of each of {', '.join(kinds)}")
        if any(len(times) != len(self.orders) for times in self.seconds.values()):
            raise ValueError(f"step times that are not one for each of {len(self.orders)} rounds")
        if {*self.warm_up_seconds} != {*kinds} or {*self.settled} != {*kinds}:
            raise ValueError("kinds of steps that were not warmed up")
        return self


class LayerTimes(RecordModel):
    """A layer of one device's model in a few forward passes, in the order of the first."""

    name: str
    """As the model has it: `layer1.0.conv1`."""
    type: str
    """`Conv2d`, say."""
    same_as: str = ""
    """A convolution: the name of the first one with the same shapes of inputs and weights, stride, padding, dilation,
    groups and bias, if that is another: a thread that has met that one knows this one, too."""
    seconds: dict[ForwardThread, Times]
    """The host's time in it, an entry a pass. On CPU cores host and device are one; on a GPU it is the time to launch
    its work, and to plan it."""

    @property
    def is_convolution(self) -> bool:
        """By its type's name."""
        return self.type.startswith("Conv")


class ThreadsOfForward(RecordModel):
    """One device: what it costs that a forward pass runs in a thread that has just started, as DataParallel's do."""

    timed: Literal["step", "forward"]
    """GPUs: whole steps. CPU cores: forward passes alone, since the backward pass runs in the main thread anyway."""
    samples: PositiveCount
    """In each of them. CPU cores: few, for passes that are short show a small cost better."""
    passes: StepsInRounds
    """Of the three kinds of `ForwardThread`."""
    layers: FailFastList[LayerTimes] = []
    """Measured in further forward passes, with hooks on every layer."""


def pays_for_new_threads(layer: LayerTimes) -> bool:
    """Whether a layer takes the host clearly longer in new threads: in each of the passes, not on average."""
    elsewhere = [*layer.seconds.get("main_thread", ()), *layer.seconds.get("kept_thread", ())]
    in_new = layer.seconds.get("new_thread", ())
    return bool(in_new and elsewhere) and min(in_new) > MIN_SLOWDOWN * max(elsewhere)
