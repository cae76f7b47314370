"""Steps after the measured epochs: taken apart, or traced. What fails there costs nothing that was measured."""

from pathlib import Path

from common.console import closing, run_lines
from common.console.screen import TrainingProgress
from common.examining import experiments, instruments
from common.machine.devices import LocalDevices
from common.records import ProfileRecord, Record
from common.running.recorder import Recorder
from common.sentences import Sentences
from common.training.training import Training

TRACED_STEPS = 3


class ProfileError(Exception):
    """A rank has failed while steps were taken apart. `record` is that of the run without them."""

    def __init__(self, record: Record) -> None:
        super().__init__(record.anatomy)
        self.record = record


def take_apart(
    training: Training,
    devices: LocalDevices,
    steps: int,
    recorder: Recorder,
    progress: TrainingProgress,
    words: Sentences,
    step_seconds: float | None,
) -> None:
    """Enter into the record where a step goes, or why that is not known, and say so.

    `step_seconds` of a measured step tell how long it takes. Raises `ProfileError` among several ranks.
    """
    record = recorder.record
    count = experiments.step_count(training.model, steps, devices.kind == "cuda", step_seconds)
    progress.line(closing.profile_line(count, step_seconds, words))
    progress.phase(words.translate("where a step goes"), count)
    # Who fails alone cannot ask the others for their times any more: they are gathered before.
    measured = recorder.record_of_all_ranks() if devices.world.processes > 1 else None
    try:
        for known in experiments.profile_steps(training, devices, steps, progress.advance):
            record.anatomy = known
    except (RuntimeError, MemoryError) as error:  # out of memory, most likely: one bucket takes a second model
        who = f"rank {devices.rank}: " if measured else ""
        further = " further" if record.anatomy else ""
        record.anatomy = profile = record.anatomy or ProfileRecord(steps=steps)
        experiments.add_note(profile, f"not measured{further}: {who}{str(error) or type(error).__name__}")
        if measured:
            raise ProfileError(measured.model_copy(update={"anatomy": profile})) from error
    if record.anatomy and (threads := record.anatomy.threads_of_forward):
        for line in closing.new_thread_lines_of(threads, words):
            progress.line(line)
    if record.anatomy and record.anatomy.note:
        progress.line(run_lines.warning(words.translate("where a step goes: {note}", note=record.anatomy.note)))


def trace(training: Training, devices: LocalDevices, results_dir: Path, run_id: str, words: Sentences) -> str:
    """Write a Chrome trace of a few steps, with the phases as named ranges. Returns a line that says where it is, or
    why there is none."""
    path = results_dir / "traces" / f"{run_id}_rank{devices.rank}.json.gz"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        instruments.profiled_steps(training, devices, TRACED_STEPS).export_chrome_trace(str(path))
    except OSError as error:
        return words.translate("trace: not written ({problem})", problem=error.strerror or error)
    return words.translate(
        "trace: {path} (one per rank); open it in https://ui.perfetto.dev, which keeps it local", path=path
    )
