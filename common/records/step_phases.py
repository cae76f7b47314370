"""Where a step goes: its phases, and experiments on whole steps of several kinds, taken in rounds."""

from statistics import median
from typing import Literal, Self, get_args

from pydantic import model_validator

from common.records.fields import Count, FailFastList, PositiveCount, PositiveSeconds, RecordModel, Seconds, Times

PhaseName = Literal[
    "data wait", "copy", "scatter", "replicate", "forward", "gather", "loss", "backward", "reduce", "exchange",
    "optimizer",
]  # fmt: skip
"""Where a step goes, in order. DataParallel alone scatters, replicates, gathers and reduces; `exchange` is what a DDP
rank still waits for when its own backward is done."""
PhaseOrStep = PhaseName | Literal["step"]
"""A phase, or the whole step."""
ForwardThread = Literal["main_thread", "new_thread", "kept_thread"]
"""Where one device's forward pass runs: in the step's own thread, in one just started, or in one that lives on."""
FORWARD_THREADS: tuple[ForwardThread, ...] = get_args(ForwardThread)
REPLICATED_KINDS = (
    "new_threads_new_replicas", "kept_threads_new_replicas", "new_threads_kept_replicas", "kept_threads_kept_replicas",
    "one_thread_new_replicas",
)  # fmt: skip
"""Kinds of DataParallel's steps: torch's own first, then the others of a 2 × 2 design, then replicas in turn."""
MIN_SLOWDOWN = 2
"""A layer pays for new threads where its quickest pass in one took more than so many times its slowest elsewhere."""


class StepsInRounds(RecordModel):
    """Steps of several kinds, one of each a round, in an order drawn anew. All begin and end with idle devices."""

    seed: Count
    """Of the orders."""
    orders: FailFastList[FailFastList[str]]
    """The kinds of each round, in the order in which they were taken."""
    seconds: dict[str, Times]
    """By kind, an entry a round."""
    warm_up_seconds: dict[str, Times]
    """By kind: steps before the first round, until their times had settled, or as many as there may be."""
    settled: dict[str, bool]
    """By kind, whether they had."""

    @model_validator(mode="after")
    def _rounds_are_whole(self) -> Self:
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
    """The host's time in it, an entry a pass: on a GPU to launch and to plan its work, on CPU cores to do it."""

    @property
    def is_convolution(self) -> bool:
        """By its type's name."""
        return self.type.startswith("Conv")

    @property
    def pays(self) -> bool:
        """Whether it takes the host clearly longer in new threads: in each of the passes, not on average."""
        main, new, kept = (self.seconds[kind] for kind in FORWARD_THREADS)
        return min(new) > MIN_SLOWDOWN * max(main + kept)

    @property
    def extra(self) -> float:
        """What a new thread adds to it, in seconds, by the medians of the passes."""
        return median(self.seconds["new_thread"]) - median(self.seconds["main_thread"])


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

    @property
    def median_seconds(self) -> dict[str, float]:
        """By kind of thread."""
        return {kind: median(self.passes.seconds[kind]) for kind in FORWARD_THREADS}

    @property
    def whole_layers(self) -> list[LayerTimes]:
        """In the order of a forward pass, without those that some passes left out."""
        return [layer for layer in self.layers if all(map(layer.seconds.get, FORWARD_THREADS))]

    @property
    def convolutions(self) -> list[LayerTimes]:
        """Of these, the convolutions."""
        return [layer for layer in self.whole_layers if layer.is_convolution]

    @property
    def paying(self) -> list[LayerTimes]:
        """Layers that pay for new threads, the dearest first."""
        return sorted((layer for layer in self.whole_layers if layer.pays), key=lambda layer: -layer.extra)

    @model_validator(mode="after")
    def _has_each_kind(self) -> Self:
        if not self.passes.orders or {*self.passes.seconds} != {*FORWARD_THREADS}:
            raise ValueError(f"passes that are not in {', '.join(FORWARD_THREADS)}")
        return self


class RankProfile(RecordModel):
    """Extra steps of one process after the measured epochs, profiled. One entry a step in every list."""

    rank: Count
    step_seconds: Times
    phases: dict[PhaseName, Times]
    """They follow one another, and add up to the step but for the few calls between them."""
    host_seconds: dict[PhaseOrStep, Times] = {}
    """GPUs: the host's time in each phase of further steps, which begin with an idle device, so that it never waits for
    room in the queue: the time to launch the work. DataParallel's contain the hooks that watch its replicas in records
    without `from_idle_seconds`."""
    from_idle_seconds: Times = []
    """GPUs: the very steps of `host_seconds`, each until the device is done with it."""
    busy_seconds: dict[PhaseOrStep, Times] = {}
    """GPUs: what the device that holds the model is busy with in each phase, in a few profiled steps; the `step` is
    without DDP's exchange, whose kernels wait for other ranks."""
    loaded_seconds: Times = []
    """GPUs: seconds a step in short runs of steps, fed by the loader; each right before one of `resident_seconds`."""
    resident_seconds: Times = []
    """GPUs: the same of steps whose batch lies on the device already."""
    replica_seconds: FailFastList[Times] = []
    """DataParallel: per replica, its own forward and backward."""
    communication_seconds: Times = []
    """DDP, by torch's own clock: from the start of the first all-reduce of a step to the end of the last. One entry
    less than there are steps, for torch publishes a step's times with the next one; so has `overlap_seconds`."""
    overlap_seconds: Times = []
    """DDP, by torch's own clock: the part of `communication_seconds` that ran beside the backward pass."""
    exchange_on_seconds: Times = []
    """DDP: whole steps as they are, one a round; all ranks start each step together. The kinds of steps of a round
    come in random order; in records without `no_all_reduce_seconds` in the order of these fields."""
    no_all_reduce_seconds: Times = []
    """DDP: whole steps with a comm hook that does nothing: gradients are copied into their buckets, and stay there."""
    exchange_off_seconds: Times = []
    """DDP: whole steps under `no_sync()`: neither buckets nor an exchange."""
    one_bucket_seconds: Times = []
    """DDP: whole steps with all gradients in one bucket, so that nothing overlaps."""
    lead_seconds: dict[str, Seconds] = {}
    """DDP on GPUs: how far the host was ahead of the device, as in training, when a step of these kinds began, by
    `exchange_on` and so on. In records without it they began with idle devices."""
    new_threads_seconds: Times = []
    kept_threads_seconds: Times = []
    one_thread_seconds: Times = []
    kept_replicas_seconds: Times = []
    """Older records, DataParallel: whole steps as torch runs it, replicas made anew and run in new threads; right after
    each of them one in kept threads, each for any replica, one with the replicas launched in turn from one thread, and
    one with new threads, but kept replicas. All begin and end with idle devices. Newer: `replicated_steps`."""


class Gradients(RecordModel):
    """One device: when each gradient of a step is complete; one entry a parameter in every list, in that order.

    With a hook on every parameter a backward pass may take longer: shares of it carry over, seconds do not.
    """

    bytes: list[Count]
    ready_seconds: list[Seconds]
    """Median, from the start of the last backward pass of a step."""
    backward_seconds: PositiveSeconds
    """Median of those backward passes."""

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        if len(self.bytes) != len(self.ready_seconds):
            raise ValueError(f"{len(self.ready_seconds)} times of completion for {len(self.bytes)} gradients")
        return self


class ProfileRecord(RecordModel):
    """Where a step goes. Measured apart: nothing in here is part of the throughput."""

    steps: PositiveCount
    ranks: FailFastList[RankProfile] = []
    bytes_moved: dict[PhaseName, Count] = {}
    """Between devices, in one step, by the phase that moves them; `exchange`: the gradients that one rank gives."""
    gradients: Gradients | None = None
    """One device alone has this and the next three: what a prediction for several devices starts from."""
    replicate_seconds: Times = []
    """The host's time to make one replica of the model, as DataParallel makes one for each device in each step."""
    different_convolutions: Count | None = None
    """In a forward pass, by shape: what a new thread has to plan anew."""
    gathered_bytes: Count | None = None
    """What DataParallel would bring from a replica of this batch to device 0 in a step: outputs, and their gradients
    back, as far as the loss uses them."""
    threads_of_forward: ThreadsOfForward | None = None
    """One device alone, unless it is compiled."""
    replicated_steps: StepsInRounds | None = None
    """DataParallel: {new, kept} threads × {new, kept} replicas, and new replicas that one thread launches in turn
    (`REPLICATED_KINDS`). A kept thread belongs to one device; kept replicas were made before the step. A method that
    keeps its threads has no kinds with new ones."""
    bucket_bytes: FailFastList[Count] = []
    """DDP's buckets, in the order in which they become ready."""
    note: str = ""
    """Why something is missing."""
