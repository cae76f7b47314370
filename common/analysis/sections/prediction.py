"""What N devices will do, as a table and as advice."""

from collections.abc import Iterator

from common.analysis.comparing.facts import grouped
from common.analysis.comparing.groups import Group
from common.analysis.judging.advice import Advice
from common.analysis.predicting.forecast import GroupForecast
from common.analysis.predicting.inputs import MAX_DEVICES, Question
from common.analysis.predicting.parallel_steps import ddp_efficiency, slowest_useful_link
from common.content import NOTHING, Cell, Line, Message, Section, Table, columns, details, message, small

MAX_ERROR = 0.05
"""A prediction of DDP that is further off is no ground for advice."""
WORTH_SAYING = 0.01
"""What a larger batch or fewer bytes must add to the efficiency."""


def prediction_section(predicted: GroupForecast) -> Section:
    """The table, and what a prediction lacks here."""
    table = prediction_table(predicted)
    return Section(
        contents=[details(table.heading, table, *map(small, prediction_notes(predicted)))], style="foresight"
    )


def prediction_advice(group: Group, question: Question, predicted: GroupForecast) -> Iterator[Advice]:
    """The link that DDP needs, what the most devices would keep, and what would help it by more than `WORTH_SAYING`;
    nothing where no device has another one to exchange gradients with, or where the prediction has failed."""
    of_ddp = [one for one in predicted.forecasts if one.method == "ddp" and one.devices > 1]
    has_several = any(row.devices > 1 for row in group.rows) or group.rows[0].record.devices_there > 1
    if not of_ddp or not is_trusted(predicted) or not (has_several or question.link or question.between):
        return
    farthest = max(of_ddp, key=lambda one: one.devices)
    devices = max([one.devices for one in of_ddp if one.measured], default=farthest.devices)
    basis, network, most = predicted.basis, predicted.network, predicted.most
    values = {"devices": devices, "most": most, "rests_on": network.rests_on}
    low, high = (speed_up / farthest.devices for speed_up in farthest.speed_up_range)
    shares = {
        "efficiency": ddp_efficiency(basis, network, devices),
        "batch": ddp_efficiency(basis, network, devices, work=2.0),
        "bytes": ddp_efficiency(basis, network, devices, size=0.5),
    }
    if most > devices:  # else all cores of a machine are joined already
        if rate := slowest_useful_link(basis, devices):
            link = values | {"bytes_per_second": rate}
            yield Advice(message("advice.link", **link), message("because.link", **link))
        because = "because.reach" if most == MAX_DEVICES else "because.reach_of_one_machine"
        reach = message("advice.reach", row=farthest.name, low=low, high=high)
        yield Advice(reach, message(because, **values))
    if max(shares["batch"], shares["bytes"]) - shares["efficiency"] > WORTH_SAYING:
        of_help = message("advice.batch_or_bytes", **values, **shares)
        yield Advice(of_help, message("because.batch_or_bytes", **values))


def is_trusted(predicted: GroupForecast) -> bool:
    """Whether what was measured of DDP does not contradict the formula, and the host is not late, where it fails."""
    of_ddp = [one for one in predicted.forecasts if one.method == "ddp" and one.devices > 1]
    return not any(one.step.is_late_host or abs(one.error or 0.0) > MAX_ERROR for one in of_ddp)


def prediction_table(predicted: GroupForecast) -> Table:
    """A line for each method and number of devices."""
    shown = columns("row:method", "predicted_step:prediction", "throughput", "scaling_efficiency",
                    "predicted_memory:prediction", "measured_step:prediction",
                    "prediction_error:prediction")  # fmt: skip
    lines = []
    for one in predicted.forecasts:
        extrapolated = () if one.is_measured_link else (message("note.extrapolated"),)
        in_range = message("note.in_range" if one.is_covered else "note.out_of_range")
        notes = (in_range, message("note.naive", error=one.naive_error))
        form, each = one.basis.row.record.config.rate
        cells = [
            Cell(one.name, notes=extrapolated),
            Cell(one.step.seconds, "ms", interval=(one.step.low, one.step.high)),
            Cell(each * one.throughput, form),
            Cell(one.efficiency, "%.1"),
            Cell(one.memory_bytes, "GiB") if one.memory_bytes else NOTHING,
            Cell(one.measured_step, "ms") if one.measured_step else NOTHING,
            NOTHING if one.error is None else Cell(one.error, "±%.1", notes=notes),
        ]
        lines.append(Line(cells, one.method, one.name))
    return Table("forecast", shown, lines, hint=message("hint.forecast"))


def prediction_notes(predicted: GroupForecast) -> list[Message]:
    """What each row is predicted from; what that lacks here, and which assumption takes its place."""
    basis, methods = predicted.basis, {one.method for one in predicted.forecasts}
    launches = basis.probes.launches
    same = grouped(predicted.forecasts, lambda one: (one.method, str(one.rests_on)))
    notes = [message("forecast.basis", rows=[one.name for one in of_basis], basis=of_basis[0].rests_on)
             for of_basis in same.values()]  # fmt: skip
    lacking = {
        "no_readiness": not basis.parameters,
        "no_slowdown": basis.probes.together is None,
        "no_replicas": "dp" not in methods and basis.row.profile.replicate is None,
        "late_host": any(one.step.is_late_host for one in predicted.forecasts),
        "no_launches": basis.row.on_gpu and launches is not None and not launches.is_plausible,
    }
    return [*notes, *(message(f"forecast.{name}") for name, is_so in lacking.items() if is_so)]
