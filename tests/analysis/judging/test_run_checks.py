"""Each self-check passes on a sound run and speaks up for the fault that it is there for."""

from __future__ import annotations

import pytest

from analysis.factories import make_parity, make_record, typical_lab
from analysis.views import groups_of, outcome, reason, said
from common.analysis.judging.row_checks import checks_section
from common.analysis.judging.run_checks import check_run
from common.analysis.reading.runs import summarise
from common.content import Lines
from common.records import GpuHealth


def with_health(**readings):
    record = make_record(kind="cuda")
    record.devices[0].health = GpuHealth(
        **{"samples": 5, "sm_clock_mhz_min": 1900, "sm_clock_mhz_median": 1950} | readings
    )
    return record


def test_a_sound_run_raises_no_doubt():
    for record in (make_record(), make_record("ddp", 2), make_record("ddp", 2, kind="cuda")):
        assert [check for check in check_run(summarise("run.json", record)) if check.has_failed] == []


@pytest.mark.parametrize("method", ["dp", "ddp"])
def test_parity(method):
    assert outcome(make_record(method, 2), "parity") == "passed"
    failed = make_parity(method, 2).model_copy(update={"outcome": "failed", "max_relative_error": None})
    assert outcome(make_record(method, 2, parity=failed), "parity") == "failed"
    assert outcome(make_record(method, 2, parity=None), "parity") == "not measured"
    assert outcome(make_record(parity=None), "parity") == "not applicable"


def test_samples_seen_by_count_and_by_checksum():
    lost = make_record("ddp", 2)
    lost.ranks[0].samples[1] -= 1
    assert outcome(lost, "samples") == "failed"
    doubled = make_record("ddp", 2)
    doubled.ranks[0].checksums[0] = doubled.ranks[1].checksums[0]
    assert outcome(doubled, "samples") == "failed"


def test_checksums_add_up_modulo_two_to_the_64():
    record = make_record("ddp", 2)
    for rank in record.ranks:
        rank.checksums = ["f" * 16] * 2
    for epoch in record.epochs:
        epoch.expected_checksum = "f" * 15 + "e"
    assert outcome(record, "samples") == "passed"


def test_an_epochs_samples_are_those_of_its_steps():
    record = make_record()
    record.epochs[0].samples //= 2
    assert outcome(record, "samples") == "failed"


def test_the_hosts_clock_is_held_against_the_devices():
    record = make_record("ddp", 2)
    record.ranks[1].host_epoch_seconds[1] *= 1.009
    assert outcome(record, "clock") == "passed"
    record.ranks[1].host_epoch_seconds[1] *= 1.01
    assert outcome(record, "clock") == "warning"  # short epochs on a busy host
    record.ranks[1].host_epoch_seconds[1] *= 1.04
    assert outcome(record, "clock") == "failed"
    assert "its speed is withheld" in reason(record, "clock")


def test_warm_up():
    record = make_record(steps=40, epochs=1)
    record.ranks[0].step_seconds[:4] = [0.8] * 4
    assert outcome(record, "warm_up") == "warning"
    record.ranks[0].step_seconds[30:34] = [2.0] * 4  # now such a batch is nothing special
    assert outcome(record, "warm_up") == "passed"
    assert outcome(make_record(steps=4, epochs=2), "warm_up") == "not measured"


def test_the_wait_for_an_epochs_first_batch_is_no_lack_of_warm_up():
    record = make_record(steps=40, epochs=1)
    record.ranks[0].step_seconds[0] += 1.0
    assert outcome(record, "warm_up") == "warning"
    record.ranks[0].data_wait_seconds[0] += 1.0
    assert outcome(record, "warm_up") == "passed"


def test_in_older_records_an_epochs_first_step_is_left_out():
    record = make_record(step_seconds=0.5, noise=0, steps=10, epochs=3, loader_runs_on=False)
    record.ranks[0].loader_start_seconds = None
    for first, longer in ((0, 2.0), (10, 0.4), (20, 0.3)):
        record.ranks[0].step_seconds[first] += longer
        record.ranks[0].data_wait_seconds[first] += longer
    assert outcome(record, "data_wait") == outcome(record, "warm_up") == "passed"
    for first in (1, 2, 11, 12, 21, 22):  # within the epochs: a matter of the loader
        record.ranks[0].step_seconds[first] += 0.4
        record.ranks[0].data_wait_seconds[first] += 0.4
    assert outcome(record, "data_wait") == "warning"


@pytest.mark.parametrize(("longer", "said"), [(60.0, "warning"), (4.0, "passed")])
def test_a_step_in_which_everything_stood_still(longer, said):
    record = make_record()
    record.ranks[0].step_seconds[5] += longer
    assert outcome(record, "standstill") == said


def test_data_wait():
    record = make_record()
    record.ranks[0].data_wait_seconds = [seconds * 0.06 for seconds in record.ranks[0].step_seconds]
    assert outcome(record, "data_wait") == "warning"


def test_loss():
    record = make_record()
    record.epochs[1].mean_loss = None
    assert outcome(record, "loss") == "failed"
    record.epochs[1].mean_loss = 5.0
    assert outcome(record, "loss") == "warning"


@pytest.mark.parametrize("flag", ["emulated", "shared", "oversubscribed"])
def test_devices_that_are_not_what_they_seem(flag):
    assert outcome(make_record("ddp", 2, world={flag: True}), "devices") == "warning"


def test_number_of_steps():
    assert outcome(make_record(steps=9, epochs=1), "steps") == "warning"


def test_throttling():
    assert outcome(with_health(), "throttling") == "passed"
    assert outcome(with_health(throttle_reasons=["power cap"]), "throttling") == "warning"
    assert outcome(with_health(sm_clock_mhz_min=1200), "throttling") == "warning"
    assert outcome(make_record(kind="cuda"), "throttling") == "not measured"


def test_other_processes():
    assert outcome(with_health(other_processes=0), "other_processes") == "passed"
    assert outcome(with_health(other_processes=2), "other_processes") == "warning"


def test_load():
    assert outcome(make_record(environment={"load_average_1min": 2.5}), "load") == "warning"
    assert outcome(make_record(environment={"load_average_1min": None}), "load") == "not measured"


@pytest.mark.parametrize(("waited", "said"), [(0.04, "passed"), (0.2, "warning")])
def test_a_wait_for_cores_is_other_work(waited, said):
    record = make_record("ddp", 2)
    record.ranks[1].core_wait_seconds = [waited * seconds for seconds in record.ranks[1].host_epoch_seconds]
    assert outcome(record, "load") == said


def test_a_quota_that_stopped_the_run_is_named_and_no_other_program():
    record = make_record("ddp", 2, environment={"cpu_quota": 2.5})
    record.ranks[1].core_wait_seconds = [0.3 * seconds for seconds in record.ranks[1].host_epoch_seconds]
    assert "other work" in reason(record, "load")
    record.ranks[1].throttled_periods = [40] * len(record.epochs)
    said = reason(record, "load")
    assert "2.5 cores' worth" in said
    assert f"{40 * len(record.epochs)} periods" in said
    assert "other work" not in said


def test_time_that_other_virtual_machines_took_is_named_beside_other_work_and_alone():
    record = make_record("ddp", 2)
    lose(record.ranks[1], stolen=0.2)
    assert outcome(record, "load") == "warning"
    assert "20 % of the CPU time" in reason(record, "load")
    assert "other work" not in reason(record, "load")
    record.ranks[1].core_wait_seconds = [0.3 * seconds for seconds in record.ranks[1].host_epoch_seconds]
    assert "20 % of the CPU time" in reason(record, "load")
    assert "30 % of the time (limit 15 %): other work" in reason(record, "load")
    lose(record.ranks[1], stolen=0.1)
    assert "virtual" not in reason(record, "load")


def test_stolen_time_is_nobodys_own_doing_though_devices_take_turns():
    record = make_record("ddp", 4)  # on two cores
    lose(record.ranks[0], stolen=0.5)
    assert outcome(record, "load") == "warning"


def lose(rank, stolen: float) -> None:
    """This share of what the rank's cores wanted went to other virtual machines."""
    rank.steal_seconds = [stolen * seconds for seconds in rank.host_epoch_seconds]
    rank.busy_core_seconds = [(1 - stolen) * seconds for seconds in rank.host_epoch_seconds]


def test_two_devices_on_the_threads_of_one_core_are_said_to_share_it():
    assert outcome(make_record("ddp", 2, environment={"physical_cores": 2}), "devices") == "passed"
    record = make_record("ddp", 2, environment={"physical_cores": 1})
    assert outcome(record, "devices") == "warning"
    assert "1 physical cores" in reason(record, "devices")


def test_cores_of_two_kinds_are_unlike_and_threads_count_within_the_kinds_that_ran():
    kinds = [{"name": "P-core", "cores": 4, "physical_cores": 2}, {"name": "E-core", "cores": 2, "physical_cores": 2}]
    host = {"physical_cores": 4, "core_kinds": kinds, "cpu_cores": 6}

    def devices(count: int, ran: str) -> str:
        world = {"device_model": f"1 core of Example CPU ({ran})", "oversubscribed": False}
        return reason(make_record("ddp", count, environment=host, world=world), "devices")

    assert "2 physical cores" in devices(4, "P-core")
    assert "unlike" not in devices(4, "P-core")
    said = devices(6, "P-core + E-core")
    assert "4 physical cores" in said
    assert "unlike: 1 core of Example CPU (P-core) and 1 core of Example CPU (E-core)" in said


def test_ranks_that_share_a_core_wait_for_each_other():
    record = make_record("ddp", 4)  # on two cores
    record.ranks[0].core_wait_seconds = [0.5 * seconds for seconds in record.ranks[0].host_epoch_seconds]
    assert outcome(record, "load") == "passed"


def test_a_check_that_nobody_made_does_not_read_as_passed():
    """What was not measured is named beside the rows without doubts, and not only among what is folded."""
    rows = groups_of(*typical_lab())[0].rows
    section = checks_section(rows, "group-1")
    shown = [line for part in section.contents if isinstance(part, Lines) for line in said(part.lines)]
    assert any("not measured: " in line and "repeats" in line for line in shown)
    assert any(line.startswith("Every check that was made passed: ") for line in shown)
