"""What to do next: rules that turn measured figures into advice. The same rules in words: docs/choosing.md.

One function for each rule. Each line of advice carries the number that called for it, and a rule that lacks its number
is silent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from common.analysis.comparing.contenders import contenders
from common.analysis.comparing.energy import energy_of
from common.analysis.comparing.groups import Group, Row, times_as_fast
from common.analysis.judging.checks import DATA_WAIT_LIMIT
from common.analysis.judging.limits import matmul_rate, mfu_of
from common.analysis.judging.verdict import compare_in_words
from common.analysis.judging.why import interval_text
from common.analysis.statistics.estimates import distinguishable
from common.formats import gib, milliseconds, percent, scaled
from common.records import Method, Probes

EXPOSED_LIMIT = 0.10
MOVING_LIMIT = 0.10
STRAGGLER_LIMIT = 0.10
MEMORY_LIMIT = 0.85
IMBALANCE_LIMIT = 1.25
MFU_LIMIT = 0.10
PRECISION_GAIN = 1.5
ENERGY_GAIN = 0.05
"""Shares of 1, and factors; docs/choosing.md gives each with its reason."""


@dataclass(frozen=True)
class Advice:
    """One line."""

    text: str
    because: str
    """The figure that called for it."""
    how: str = ""
    """Means, where the text does not say them."""

    def __str__(self) -> str:
        return " ".join(filter(None, [self.text, self.how, self.because]))


@dataclass(frozen=True)
class Situation:
    """What the rules look at: the contenders, one row of each method, and step 01's measurements."""

    rows: dict[Method, Row]
    probed: Sequence[Probes]

    @cached_property
    def fastest(self) -> Row:
        """By value alone; whether it shows is for the rules to say."""
        return max(self.rows.values(), key=lambda row: row.throughput.value)


def advise(group: Group, probed: Sequence[Probes]) -> list[Advice]:
    """All advice for a group, in the order of `RULES`; nothing where every speed is withheld."""
    rows = {row.method: row for row in contenders(group.rows)}
    situation = Situation(rows, probed)
    return [advice for rule in RULES.values() for advice in rule(situation)] if rows else []


def fastest_method(here: Situation) -> Iterator[Advice]:
    """DDP, DP, one device, or nobody knows."""
    if len(here.rows) < 2:
        return
    others = [row for row in here.rows.values() if row is not here.fastest]
    rival = max(others, key=lambda row: row.throughput.value)
    lead = times_as_fast(here.fastest, rival)
    because = compare_in_words(here.fastest, rival, lead)
    if all(row.devices == 1 for row in here.rows.values()):
        yield Advice("Train without a wrapper: on one device it has nothing to gain.", because)
    elif not distinguishable(lead):
        yield Advice("Measure longer before you choose: a higher REPEATS of make lab, or more --epochs.", because)
    elif here.fastest.method == "single":
        yield Advice("Train on one device: here more of them are slower.", because)
    else:
        yield Advice(f"Use {'DDP' if here.fastest.method == 'ddp' else 'DP'}.", because)


def data_bound(here: Situation) -> Iterator[Advice]:
    """The loader, not the method, sets the pace."""
    worst = max(here.rows.values(), key=lambda row: row.data_wait_share)
    if worst.data_wait_share > DATA_WAIT_LIMIT:
        because = f"{worst.label} waits for data {percent(worst.data_wait_share)} of the time."
        yield Advice("Give the loader more processes (--workers) before you compare methods.", because)


def exposed_communication(here: Situation) -> Iterator[Advice]:
    """DDP's exchange does not fit beside the backward pass."""
    row = here.rows.get("ddp")
    found = row and row.anatomy
    if not found or not found.exposed or not found.exposed.is_above_zero or found.exposed_share <= EXPOSED_LIMIT:
        return
    cost = f"{milliseconds(found.exposed.value)} of a step ({percent(found.exposed_share)})"
    yield Advice(
        "Exchange gradients less often, or fewer bytes of them.",
        f"{row.label}'s exchange adds {cost} after overlap ({interval_text(found.exposed)}).",
        "Less often: a larger batch per device (--batch-size), in several micro-batches where it does not fit "
        f"(--accumulation-steps). Fewer bytes: {_hook(row)}, which rounds the gradients.",
    )


def _hook(row: Row) -> str:
    """bf16 keeps the range of fp32, but torch exchanges it over NCCL alone."""
    return "--comm-hook bf16" if row.record.world.backend == "nccl" else "--comm-hook fp16"


def larger_buckets(here: Situation) -> Iterator[Advice]:
    """So little overlaps that fewer, larger messages are quicker."""
    row = here.rows.get("ddp")
    gain = row and row.anatomy and row.anatomy.overlap_gain
    if gain and gain.is_below_zero:
        yield Advice(
            "Exchange all gradients at once (--one-bucket), or in fewer parts (--bucket-cap-mb).",
            f"One bucket makes {row.label}'s step {milliseconds(-gain.value)} quicker "
            f"({interval_text(gain.negated())}).",
        )


def dp_moves_the_model(here: Situation) -> Iterator[Advice]:
    """DP spends its time on copies that DDP does not make; silent where DDP was measured and DP won all the same."""
    row, measured = here.rows.get("dp"), "ddp" in here.rows
    if not row or not row.anatomy or (measured and row is here.fastest):
        return
    phases, step = row.anatomy.slowest.phases, row.anatomy.slowest.step.value
    moving = sum(phases[name].value for name in ("scatter", "replicate", "gather", "reduce") if name in phases)
    if step and moving / step > MOVING_LIMIT:
        leave = "Leave DP for DDP" if measured else "Try DDP (04_ddp_training.py)"
        yield Advice(
            f"{leave}, which copies neither model nor batch between devices.",
            f"{row.label} spends {milliseconds(moving)} of a step ({percent(moving / step)}) on scatter, replicate, "
            "gather and reduce.",
        )


def straggler(here: Situation) -> Iterator[Advice]:
    """One rank works longer than the others, which wait for it."""
    row = here.rows.get("ddp")
    if not row or not row.anatomy or len(row.anatomy.ranks) < 2:
        return
    slow = row.anatomy.slowest
    quick = min(row.anatomy.ranks, key=lambda rank: rank.own.value)
    if slow.own.is_apart_from(quick.own) and slow.own.value > (1 + STRAGGLER_LIMIT) * quick.own.value:
        yield Advice(
            f"Find out what slows rank {slow.rank}: other programs, heat, or an unequal share of the data.",
            f"Of a step of {row.label} it works {milliseconds(slow.own.value)}, rank {quick.rank} "
            f"{milliseconds(quick.own.value)}.",
        )


def device_0_is_full(here: Situation) -> Iterator[Advice]:
    """DP's first device holds more than the others and limits the batch of all."""
    row = here.rows.get("dp")
    memory = [(device.memory, device.capacity_bytes) for device in row.record.devices] if row else []
    held = [(peak.peak_reserved_bytes, peak.peak_allocated_bytes, capacity) for peak, capacity in memory]
    if len(held) < 2 or not all(map(all, held)):
        return
    (reserved, allocated, capacity), others = held[0], [sizes[1] for sizes in held[1:]]
    imbalance = allocated * len(others) / sum(others)
    if reserved / capacity > MEMORY_LIMIT and imbalance > IMBALANCE_LIMIT:
        yield Advice(
            "Device 0 limits the batch: use DDP, or --accumulation-steps, or a smaller --batch-size.",
            f"{row.label} fills {percent(reserved / capacity)} of device 0's {gib(capacity)} and holds "
            f"{imbalance:.2f} times as much there as on the others.",
            "DDP spreads gradients and optimizer state evenly.",
        )


def idle_arithmetic(here: Situation) -> Iterator[Advice]:
    """A device that is far from its own rate gains more from care than from company."""
    row = here.rows.get("single") or here.fastest
    share = mfu_of(row, here.probed)[0]
    if share and share.value < MFU_LIMIT:
        yield Advice(
            "Use a device better before you add more.",
            f"{row.label} reaches {percent(share.value, 1)} of the measured matmul rate.",
            "A larger batch per device (--batch-size), --channels-last, --compile (not in step 03).",
        )


def faster_precision(here: Situation) -> Iterator[Advice]:
    """bf16 multiplies much faster than what the run used."""
    world, precision = here.fastest.record.world, here.fastest.record.config.precision
    own, half = (matmul_rate(here.probed, world.device_model, name) for name in (precision, "bf16"))
    if own and half and half / own > PRECISION_GAIN:
        because = f"Step 01 measured bf16 matrix products at {half / own:.1f} times the rate of {precision}."
        yield Advice("Try --precision bf16.", because)


def least_energy(here: Situation) -> Iterator[Advice]:
    """The fastest method is not the one that draws least."""
    drawn = {row.method: energy.joules_per_thousand_samples for row in here.rows.values() if (energy := energy_of(row))}
    most = drawn.get(here.fastest.method)
    least = min(drawn, key=drawn.get, default=None)
    if most and drawn[least] < (1 - ENERGY_GAIN) * most:
        yield Advice(
            f"Where energy counts more than time, use {here.rows[least].in_a_sentence}.",
            f"It draws {scaled(drawn[least], 'J')} for a thousand samples, "
            f"{here.fastest.in_a_sentence} {scaled(most, 'J')}.",
        )


RULES: dict[str, Callable[[Situation], Iterator[Advice]]] = {
    rule.__name__: rule
    for rule in (fastest_method, data_bound, exposed_communication, larger_buckets, dp_moves_the_model, straggler,
                 device_0_is_full, idle_arithmetic, faster_precision, least_energy)
}  # fmt: skip
"""By name, in the order in which the advice is given."""
