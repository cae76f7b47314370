"""Devices: enough of them, alike, reached by torch and free."""

from collections.abc import Iterator
from functools import partial

from common.messages import message
from common.records import EnvironmentRecord, Requirement
from common.requirements.needed_host import checked, fails, notes, warns
from common.sentences import Sentences
from common.setup.environments import lacking, numbers_of, too_old, torch_for

GPU_MEMORY_BYTES = 8 * 2**30
FIRMWARE_BYTES = 2**29
"""Driver and firmware keep some: a GPU that is sold with 8 GiB shows a few hundred MiB less."""


def needs_of_devices(record: EnvironmentRecord, words: Sentences) -> Iterator[Requirement]:
    """Verdicts on how many there are, and on the CPU cores that stand in for GPUs."""
    translate, check, listed = words.translate, partial(checked, words), words.listed
    here, gpus = record.environment, record.environment.gpus
    number, kinds = here.devices, here.core_kinds
    threads, cores = here.cpu_cores, here.physical_cores
    if kinds:
        threads, cores = kinds[0].cores, kinds[0].physical_cores
    share_cores = not gpus and cores is not None and cores < threads
    yield check(
        message("two devices, better four"),
        words.counted(number, "1 GPU", "{count} GPUs")
        if gpus
        else words.counted(number, "1 CPU core", "{count} CPU cores"),
        number < 2 and warns("03 and 04 then run two devices on one: that shows how they work, not what they gain"),
        share_cores
        and notes(
            "{threads} hardware threads on {cores} physical cores: two devices on one core share its arithmetic; "
            "at most {cores} devices show scaling"
        ),
        threads=threads,
        cores=cores,
    )
    if kinds and not gpus:
        yield check(
            message("CPU cores of one kind"),
            listed(translate("{count} × {model}", count=kind.cores, model=kind.name) for kind in kinds),
            len(kinds) > 1
            and notes(
                "devices are {kind}s as long as there are enough ({cores}); with more, the slowest sets the pace of all"
            ),
            cores=here.alike_cores,
            kind=kinds[0].name,
        )


def needs_of_gpus(record: EnvironmentRecord, words: Sentences) -> Iterator[Requirement]:
    """Verdicts on GPUs, where the driver knows or torch reaches any."""
    translate, check, listed = words.translate, partial(checked, words), words.listed
    here, gpus, known = record.environment, record.environment.gpus, record.driver_gpus
    if not known and not gpus:
        return
    capabilities = [gpu.compute_capability for gpu in gpus if gpu.compute_capability]
    fitting = torch_for(here.driver, capabilities or record.driver_capabilities)
    needed = too_old(here.driver, numbers_of(here.cuda)) if here.cuda else None
    # What the sentences on versions mention: the torch and driver that are here, and those that would do.
    versions = {"fit": fitting, "needed": needed, "driver": here.driver, "cuda": here.cuda, "torch": here.torch}

    problem = None
    if not known and here.cuda is None:
        problem = notes(
            "GPUs of another maker than NVIDIA: clocks, temperatures and the memory of processes will be missing"
        )
    elif not known:
        problem = warns("clocks, temperatures and the memory of processes will be missing: pip install nvidia-ml-py")
    elif not gpus and here.cuda is None:
        problem = warns("torch {torch} is built without CUDA: install a CUDA build, or go on with CPU cores")
    elif not gpus and record.cuda_visible_devices in ("", "-1"):
        problem = warns("CUDA_VISIBLE_DEVICES hides them: unset it, or go on with CPU cores")
    elif not gpus and needed and fitting:
        problem = fails(
            "driver {driver} is too old for torch {torch} (CUDA {cuda}): update it to {needed} or newer, or "
            "install the newest of {fit}, as make lab does in a new .venv"
        )
    elif not gpus and needed:
        problem = fails("driver {driver} is too old for every torch of the lab: update it to {needed} or newer")
    elif not gpus:
        problem = fails("CUDA does not start ({error}): update the driver, or install a torch for an older CUDA")
    yield check(
        message("torch reaches the GPUs"),
        translate("{here} of {known} that the driver knows", here=len(gpus), known=len(known))
        if known
        else translate("{here}; the driver does not answer", here=len(gpus)),
        problem,
        error=record.cuda_error,
        **versions,
    )
    if gpus and here.cuda and record.torch_architectures:
        unserved = sorted(set(lacking(record.torch_architectures, capabilities)))
        yield check(
            message("torch has code for these GPUs"),
            listed(sorted({f"sm_{capability.replace('.', '')}" for capability in capabilities})),
            unserved
            and fitting
            and fails(
                "torch {torch} has no code for {unserved}: install the newest of {fit}, as make lab does in a new "
                ".venv, or hide these GPUs (CUDA_VISIBLE_DEVICES)"
            ),
            unserved and fails("no torch of the lab has code for {unserved}: hide these GPUs (CUDA_VISIBLE_DEVICES)"),
            unserved=listed(unserved),
            **versions,
        )
    if models := sorted({gpu.name for gpu in gpus}):
        yield check(
            message("GPUs of one model"),
            listed(models),
            len(models) > 1 and warns("the slowest sets the pace of all: pick equal ones, CUDA_VISIBLE_DEVICES=0,1"),
        )
    may_not_fit = warns("resnet50 with a batch of 64 may not fit; try --batch-size 16 per device")
    if totals := [gpu.memory_total_bytes for gpu in gpus if gpu.memory_total_bytes is not None]:
        yield check(
            message("8 GiB on each GPU"),
            translate("{bytes:GiB} or more", bytes=min(totals)),
            min(totals) < GPU_MEMORY_BYTES - FIRMWARE_BYTES and may_not_fit,
        )
    if free := [gpu.memory_free_bytes for gpu in gpus if gpu.memory_free_bytes is not None]:
        busy = sum(processes or 0 for processes in record.gpu_processes)
        programs = words.counted(busy, "{count} other program", "{count} other programs")
        yield check(
            message("GPUs free for you"),
            translate("{bytes:GiB} or more free, {programs}", bytes=min(free), programs=programs),
            busy > 0 and warns("other programs take part of the speed measured here: nvidia-smi lists them"),
            min(free) < GPU_MEMORY_BYTES - 2 * FIRMWARE_BYTES and may_not_fit,
        )
