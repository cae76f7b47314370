"""What to do next: rules that turn measured figures into advice. The same rules in words: docs/choosing.md.

One function for each rule. Each line of advice carries the number that called for it, and a rule that lacks its number
is silent.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import nan

from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row
from common.analysis.comparing.utilisation import is_bound_by_exchange, matmul_rate, mfu_of
from common.analysis.judging.reasons import median_interval
from common.analysis.judging.run_checks import DATA_WAIT_LIMIT
from common.analysis.judging.verdicts import compare, decide
from common.analysis.statistics.estimates import ratio
from common.content import Message, message
from common.records import Method

MOVING_LIMIT = 0.10
STRAGGLER_LIMIT = 0.10
MEMORY_LIMIT = 0.85
IMBALANCE_LIMIT = 1.25
MFU_LIMIT = 0.10
PRECISION_GAIN = 1.5
ENERGY_GAIN = 0.05
"""Shares of 1, and factors; docs/choosing.md gives each with its reason."""
Rows = dict[Method, Row]
"""What the rules look at: the representative rows, one of each method."""


@dataclass(frozen=True)
class Advice:
    """One line: what to do, the figure that called for it, and means, where the first does not say them."""

    what: Message
    because: Message
    how: Message | None = None

    @property
    def sentence(self) -> Message:
        """All of it."""
        id = "advice.line" if self.how else "advice.short_line"
        return message(id, what=self.what, how=self.how, because=self.because)


def advise(group: Group) -> list[Advice]:
    """All advice for a group, in the order of `RULES`; nothing where every speed is withheld."""
    rows = {row.method: row for row in group.representatives}
    return [advice for rule in RULES.values() for advice in rule(rows)] if rows else []


def _fastest(rows: Rows) -> Row:
    """By value alone; whether it shows is for the rules to say."""
    return max(rows.values(), key=lambda row: row.throughput.value)


def _utilisation(rows: Rows) -> float:
    """MFU of one device, or of the fastest where there is no such run; nan where it is not known."""
    share = mfu_of(rows.get("single") or _fastest(rows))
    return nan if isinstance(share, Message) else share.value


def _advice(rule: str, because: Message | None = None, how: Message | None = None, **values) -> Advice:
    """`rule` names the sentence; the reason is that of the rule's own, unless another is given."""
    because = because or Message(f"because.{rule}", values)
    return Advice(Message(f"advice.{rule}", values), because, how)


def fastest_method(rows: Rows) -> Iterator[Advice]:
    """DDP, DP, one device, or nobody knows."""
    decision = decide(list(rows.values()))
    if decision.lead and decision.fastest and decision.second:
        because = compare(decision.fastest, decision.second, decision.lead)
        yield _advice(decision.choice, because, first=decision.fastest.name, second=decision.second.name,
                      method=decision.fastest.method)  # fmt: skip


def data_bound(rows: Rows) -> Iterator[Advice]:
    """The loader, not the method, sets the pace."""
    worst = max(rows.values(), key=lambda row: row.data_wait_share)
    if worst.data_wait_share > DATA_WAIT_LIMIT:
        yield _advice("data_bound", row=worst.name, share=worst.data_wait_share)


def exposed_communication(rows: Rows) -> Iterator[Advice]:
    """DDP's exchange does not fit beside the backward pass."""
    row = rows.get("ddp")
    if row and row.devices > 1 and is_bound_by_exchange(row):
        # bf16 keeps the range of fp32, but torch exchanges it over NCCL alone.
        how = message("how.exchange_bf16" if row.record.world.backend == "nccl" else "how.exchange_fp16")
        exposed = row.profile.exposed
        yield _advice("exposed_communication", how=how, row=row.name, exposed=exposed, share=row.profile.exposed_share,
                      interval=median_interval(exposed))  # fmt: skip


def larger_buckets(rows: Rows) -> Iterator[Advice]:
    """So little overlaps that fewer, larger messages are quicker."""
    row = rows.get("ddp")
    gain = row.profile.overlap_gain if row and row.devices > 1 and row.profile else None
    if gain and gain.is_below_zero:
        loss, one = gain.negated(), row.baseline
        # Steps that begin with idle devices gain what those of the training have not lost.
        is_lost = not (row.on_gpu and one) or loss.value <= row.typical_step - one.typical_step
        if is_lost:
            yield _advice("larger_buckets", row=row.name, seconds=loss.value, interval=median_interval(loss))


def dp_moves_the_model(rows: Rows) -> Iterator[Advice]:
    """DP spends its time on copies that DDP does not make; silent where DDP was measured, which says more."""
    row = rows.get("dp")
    if row and row.devices > 1 and row.profile and "ddp" not in rows:
        phases, step = row.profile.slowest.phases, row.profile.slowest.step.value
        moving = sum(phases[name].value for name in ("scatter", "replicate", "gather", "reduce") if name in phases)
        if step and moving / step > MOVING_LIMIT:
            yield _advice("try_ddp", message("because.dp_moves", row=row.name, seconds=moving, share=moving / step))


def straggler(rows: Rows) -> Iterator[Advice]:
    """One rank works longer than the others, which wait for it."""
    row = rows.get("ddp")
    if not row or not row.profile or len(row.profile.ranks) < 2:
        return
    quick, *_, slow = sorted(row.profile.ranks, key=lambda rank: rank.work.value)
    if slow.work.is_apart_from(quick.work) and slow.work.value > (1 + STRAGGLER_LIMIT) * quick.work.value:
        values = {"row": row.name, "slow_rank": slow.rank, "slow_seconds": slow.work.value,
                  "quick_rank": quick.rank, "quick_seconds": quick.work.value}  # fmt: skip
        is_host = slow.work is not slow.own and quick.work is not quick.own
        because = Message("because.straggler_host" if is_host else "because.straggler", values)
        yield Advice(Message("advice.straggler", values), because)


def device_0_is_full(rows: Rows) -> Iterator[Advice]:
    """DP's first device holds more than the others and limits the batch of all."""
    row = rows.get("dp")
    held = [(device.memory.peak_reserved_bytes, device.memory.peak_allocated_bytes, device.capacity_bytes)
            for device in (row.record.devices if row else ())]  # fmt: skip
    if len(held) < 2 or not all(map(all, held)):
        return
    (reserved, allocated, capacity), others = held[0], [sizes[1] for sizes in held[1:]]
    imbalance = allocated * len(others) / sum(others)
    if reserved / capacity > MEMORY_LIMIT and imbalance > IMBALANCE_LIMIT:
        yield _advice("device_0_is_full", how=message("how.spread"), row=row.name, share=reserved / capacity,
                      capacity_bytes=capacity, imbalance=imbalance)  # fmt: skip


def idle_arithmetic(rows: Rows) -> Iterator[Advice]:
    """A device that is far from its own rate gains more from care than from company."""
    row, share = rows.get("single") or _fastest(rows), _utilisation(rows)
    if share < MFU_LIMIT:
        yield _advice("idle_arithmetic", how=message("how.use_better"), row=row.name, mfu=share)


def faster_precision(rows: Rows) -> Iterator[Advice]:
    """bf16 multiplies much faster than what the run used, and products are enough of a step: below `MFU_LIMIT` the
    device waits for something that bf16 does not mend."""
    row, share = _fastest(rows), _utilisation(rows)
    model, precision = row.record.world.device_model, row.record.config.precision
    own, half = (matmul_rate(row.probed, model, name) for name in (precision, "bf16"))
    if share >= MFU_LIMIT and own and half and half / own > PRECISION_GAIN:
        yield _advice("faster_precision", gain=half / own, precision=precision, share=share,
                      saved=share * (1 - own / half))  # fmt: skip


def least_energy(rows: Rows) -> Iterator[Advice]:
    """The fastest method is not the one that draws least, and the whole interval says so."""
    drawn = {row.method: row.energy.per_thousand for row in rows.values() if row.energy}
    fastest = _fastest(rows)
    most = drawn.get(fastest.method)
    least = min(drawn, key=lambda method: drawn[method].value, default=None)
    share = ratio(drawn[least], most) if most and most.value else None
    if share and share.interval and share.interval[1] < 1 - ENERGY_GAIN:
        low, high = share.interval
        yield _advice("least_energy", row=rows[least].name, joules=drawn[least].value, fastest=fastest.name,
                      fastest_joules=most.value, less=1 - share.value, less_interval=(1 - high, 1 - low))  # fmt: skip


RULES: dict[str, Callable[[Rows], Iterator[Advice]]] = {
    rule.__name__: rule
    for rule in (fastest_method, data_bound, exposed_communication, larger_buckets, dp_moves_the_model, straggler,
                 device_0_is_full, idle_arithmetic, faster_precision, least_energy)
}  # fmt: skip
"""By name, in the order in which the advice is given."""
