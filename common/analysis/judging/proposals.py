"""Commands that a reader is asked to run, so that their records land in the group of those that are there."""

import argparse
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row
from common.analysis.judging.run_checks import MIN_STEPS, check_run
from common.analysis.judging.verdicts import Decision, has_one_device, recommended, wrapped_rows
from common.content import Message, message
from common.records import METHODS, EnvironmentRecord, Method, Record, machine_of, settings_of, unusual_settings

PUBLISHED: tuple[Method, ...] = ("single", "dp", "ddp")
ENOUGH_ROUNDS, MORE_ROUNDS = 3, 10
OWN_MODEL = "MODEL=my_model.py:build"


@dataclass(frozen=True)
class NextStep:
    """The one command that says most about what is still open."""

    why: Message
    command: str


def next_step(decision: Decision, rows: Sequence[Row], done: Sequence[str]) -> NextStep:
    """What to run now that this is decided; `rows`: all of the group, those included that shared a device or whose
    speed is withheld. `done` names the campaigns that the folder holds."""
    if decision.failed and decision.choice != "one_device":
        return _again(decision.failed)
    if decision.fastest is None:
        return NextStep(message("next.nothing"), "make lab")
    record, checks = decision.fastest.record, decision.fastest.probed
    config, own = record.config, [row for row in rows if row.true_devices]
    sizes = f"MODEL={shlex.quote(config.model)} BATCH={config.per_device_batch_size}"
    if has_one_device(record):
        is_new = "ladder" not in done
        two = message("place.gpus" if decision.fastest.on_gpu else "place.cores", count=2)
        why = message("next.on_one_device", two=two, here=message("next.ladder" if is_new else "next.own_model"))
        return NextStep(why, f"make ladder {sizes if is_new else OWN_MODEL}")
    most = max([2, *(row.devices for row in own)])
    devices = {method: most if METHODS[method].is_parallel else 1 for method in PUBLISHED}
    measured = {row.method for row in own if row.devices > 1 or not row.is_parallel}
    if missing := next((method for method in PUBLISHED if method not in measured), None):
        id = "next.missing" if METHODS[missing].is_parallel else "next.missing_one"
        command = training_command(record, missing, checks, devices[missing])
        return NextStep(message(id, method=missing, devices=most), command)
    rounds = {"more_rounds": ENOUGH_ROUNDS, "measure_longer": MORE_ROUNDS}.get(decision.choice)
    causes, epochs = _removable_doubts([row for row in (decision.fastest, decision.second) if row])
    if rounds or causes:
        times = rounds or ENOUGH_ROUNDS
        if _is_of_make_lab(record):
            command = f"make lab {sizes}{f' EPOCHS={epochs}' if epochs else ''} REPEATS={times}"
        else:
            commands = [training_command(record, method, checks, devices[method], epochs=epochs)
                        for method in PUBLISHED if method in {row.method for row in rows}]  # fmt: skip
            command = f"for round in $(seq {times}); do {'; '.join(commands)}; done"
        is_open = rounds and decision.fastest.is_parallel and decision.second.is_parallel
        until_then = message("next.until_then" if is_open else "nothing")
        id = "again" if causes else decision.choice
        return NextStep(message(f"next.{id}", until_then=until_then, causes=causes, rounds=times), command)
    if not re.search(r"\.py|:", config.model):  # one of torchvision's, which few came for
        return NextStep(message("next.own_model"), f"make lab {OWN_MODEL}")
    if "crossover" not in done:
        return NextStep(message("next.crossover"), f"make crossover MODEL={shlex.quote(config.model)}")
    return NextStep(message("next.ladder"), f"make ladder {sizes}")


def _removable_doubts(rows: Sequence[Row]) -> tuple[list[Message], int | None]:
    """What warnings of the rows' newest runs name that a repetition is free of: other work that disturbed them, and too
    few steps; with the epochs that are enough, None where there were enough."""
    doubts = [(row.runs[-1], check.id) for row in rows for check in check_run(row.runs[-1]) if check.has_failed]
    causes = [message("next.disturbed")] if any(id in ("load", "other_processes") for _, id in doubts) else []
    short = [run for run, id in doubts if id == "steps"]
    if not short:
        return causes, None
    epochs = max(ceil(MIN_STEPS * run.record.config.epochs / run.times.steps) for run in short)
    steps = min(run.times.steps for run in short)
    return [*causes, message("next.few_steps", steps=steps, epochs=epochs)], epochs


def _again(record: Record) -> NextStep:
    """What to do about a run that failed, and its command, with the flag by which the advice keeps the batch."""
    reason = record.failure.message.partition("\n")[0].rstrip(". ")
    advice = Message(re.sub("[{}]", r"\g<0>\g<0>", record.failure.advice))  # in the reader's language where it is known
    command = record.command
    if cure := re.search(r"--accumulation-steps \d+", record.failure.advice):
        command = f"{re.sub(r' --accumulation-steps[ =][0-9]+', '', command)} {cure[0]}"
    return NextStep(message("next.failed", method=record.method, reason=reason, advice=advice), command)


def your_script(decision: Decision) -> Message | None:
    """What the reader's own script becomes under the recommended method; None where nothing is recommended yet."""
    row = recommended(decision)
    if row is None or not decision.is_settled:
        return None
    config = row.record.config
    kind = "single" if not row.is_parallel else "replicas" if METHODS[row.method].has_replicas else "processes"
    return message(f"your_script.{kind}", devices=row.devices, method=row.method,
                   batch=config.per_device_batch_size, whole=config.global_batch_size)  # fmt: skip


def _is_of_make_lab(record: Record) -> bool:
    """Whether `make lab` with the record's model and batch would measure its configuration, into its folder."""
    size = settings_of(type(record.config))["image_size"]
    usual = size.on_gpus if record.world.device_kind == "cuda" else size.on_cores
    is_usual = not unusual_settings(record.config) and record.config.image_size in (usual, 0)
    return is_usual and not _results_folder(record)


def _results_folder(record: Record) -> list[str]:
    """`--results-dir` of the record's own command, so that the next record is in the same folder."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--results-dir", nargs="?")
    folder = parser.parse_known_args(shlex.split(record.command))[0].results_dir
    if folder and folder.startswith("-"):
        return [f"--results-dir={folder}"]  # apart it would be a flag of its own
    return ["--results-dir", folder] if folder else []


def own_address(record: Record, checks: Sequence[EnvironmentRecord]) -> str:
    """The address by which torchrun finds the machine of a record; empty where its name will do.

    By the newest of step 01's `checks` there: for a host that does not find itself by its name, torchrun would wait for
    minutes.
    """
    here = machine_of(record.environment)
    finds_itself = [check.own_name_found for check in checks if machine_of(check.environment) == here]
    return "127.0.0.1" if finds_itself and finds_itself[-1] is False else ""


def training_command(
    record: Record,
    method: Method,
    checks: Sequence[EnvironmentRecord],
    devices: int = 1,
    batch: int | None = None,
    epochs: int | None = None,
) -> str:
    """02, 03 or 04 with the settings of a record; `batch`, that of one device, and `epochs` as there where left out.

    `checks`: records of step 01, the newest last, which say what torchrun needs there.
    """
    config, host = record.config, record.environment
    batch = batch or config.per_device_batch_size
    has_replicas = METHODS[method].has_replicas
    unusual = [pair for pair in unusual_settings(config) if not (has_replicas and pair[0].not_with_replicas)]
    flags = {
        "--model": config.model,
        "--batch-size": batch * devices if has_replicas else batch,
        "--epochs": epochs or config.epochs,
        "--samples-per-epoch": config.samples_per_epoch,
        "--image-size": config.image_size or None,  # 0 of a model that takes no images
        "--precision": config.precision,
        **{f"--{one.flag}": value for one, value in unusual if not isinstance(value, bool)},
        "--data-dir": config.data_dir or None,
        "--data": config.data or None,
        "--device": "cpu" if record.world.device_kind == "cpu" and host.gpus else None,
    }
    words = [str(part) for flag, value in flags.items() if value is not None for part in (flag, value)]
    words += [word for one, value in unusual if isinstance(value, bool) for word in one.words(value)]
    words += _results_folder(record)
    one_gpu = record.world.device_kind == "cuda" and len(host.gpus) == 1
    gpus = [0] * devices if one_gpu else range(devices)  # replicas share a GPU where there is one only
    return METHODS[method].command(shlex.join(words), devices, gpus, own_address(record, checks))


def wrapper_commands(group: Group) -> list[str]:
    """Every method on one device, so that their records land in this very group; nothing where none is missing."""
    methods = {name: method for name, method in METHODS.items() if not method.variant_of}
    if {name for name, method in methods.items() if method.is_parallel} <= {row.method for row in wrapped_rows(group)}:
        return []
    record, checks = group.rows[0].record, group.rows[0].probed
    # Step 03 has no --compile.
    able = [name for name, method in methods.items() if not (record.config.compile and method.has_replicas)]
    return [training_command(record, name, checks) for name in able]
