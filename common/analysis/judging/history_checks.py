"""Self-checks of a run's history: did it begin at its beginning, and could it read all of its images?"""

from __future__ import annotations

from common.analysis.judging.checking import Check, answer
from common.analysis.reading.runs import Run
from common.content.messages import message

IMAGENET_IMAGES = 1_281_167
"""Of ILSVRC 2012's training set."""


def check_start(run: Run) -> Check:
    """Nothing of this can be wrong; it says what else belongs to this run."""
    resumed, restarts = run.record.resumed, run.record.world.restarts
    parts = [message("start.restarted", times=restarts)] if restarts else []
    if resumed:
        at = {"file": resumed.file, "epoch": resumed.epoch, "steps": resumed.steps_done}
        parts.append(message("start.resumed", **at))
        if resumed.skipped:
            parts.append(message("start.unreadable", files=resumed.skipped))
    return answer("start", "passed", "parts" if parts else "plain", parts=parts)


def check_epoch_start(run: Run) -> Check:
    """What a plain loader, which starts anew with each epoch, costs. Worth knowing, and in none of the speeds."""
    seconds, excess = run.times.loader_start_seconds, run.times.first_step_excess_seconds
    if seconds is None and excess is None:
        return answer("epoch_start", "not measured", "missing")
    if seconds is None:
        return answer("epoch_start", "not measured", "left_out", seconds=excess, steps=run.times.steps_left_out)
    epoch = sum(run.epoch_seconds) / len(run.epoch_seconds)
    shares = {
        "share": seconds / epoch,
        "of_imagenet": seconds / (IMAGENET_IMAGES * run.seconds_per_sample.value),
    }
    return answer("epoch_start", "passed", "takes", seconds=seconds, images=IMAGENET_IMAGES, **shares)


def check_images(run: Run) -> Check:
    """Files of `--data-dir` that could not be read."""
    if run.record.config.data_dir is None:
        return answer("images", "not applicable", "synthetic")
    names = run.record.unreadable_files
    if not names:
        return answer("images", "passed", "all")
    return answer(
        "images", "warning", "unreadable" if len(names) > 1 else "one_unreadable", count=len(names), files=names
    )
