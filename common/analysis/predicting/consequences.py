"""What follows from a prediction: the link that DDP needs, what a larger batch or fewer bytes buy."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from common.analysis.predicting.forecast import GroupForecast
from common.analysis.predicting.links import AllReduceModel, Link, Ring
from common.analysis.predicting.parallel_steps import ddp_step

SLOWEST, FASTEST = 1e4, 1e13
"""Bytes a second between which a link is sought."""


@dataclass(frozen=True)
class Consequences:
    """Numbers for two sentences."""

    devices: int
    """Both are about so many."""
    half_gain_bytes_per_second: float | None
    """Over a slower link, without latency, DDP loses more than half of what it gains over one device; None where it is
    predicted to gain nothing over any."""
    efficiency: float
    with_double_batch: float
    with_half_bytes: float


def consequences(predicted: GroupForecast) -> Consequences | None:
    """None where no exchange could be predicted."""
    basis, exchange = predicted.basis, predicted.exchange
    counts = [one.devices for one in predicted.forecasts if one.method == "ddp" and one.devices > 1]
    if exchange is None or not counts:
        return None
    devices = max([one.devices for one in predicted.forecasts if one.method == "ddp" and one.measured] or counts)

    def efficiency(model: AllReduceModel, count: int, work: float = 1.0, size: float = 1.0) -> float:
        return work * basis.step / ddp_step(basis, model, count, work=work, size=size).seconds

    return Consequences(
        devices=devices,
        half_gain_bytes_per_second=_slowest_link(lambda link: devices * efficiency(Ring(link), devices) - 1),
        efficiency=efficiency(exchange, devices),
        with_double_batch=efficiency(exchange, devices, work=2.0),
        with_half_bytes=efficiency(exchange, devices, size=0.5),
    )


def _slowest_link(gain) -> float | None:
    """Bytes a second over which half is left of the gain that an instant exchange would give; by bisection."""
    low, high = SLOWEST, FASTEST
    whole = gain(Link(high))
    if whole <= 0:
        return None
    while high / low > 1.001:
        middle = sqrt(low * high)
        low, high = (low, middle) if gain(Link(middle)) > whole / 2 else (middle, high)
    return high
