"""One start of a campaign: its seed, what it launches, and what it says of that; on GPUs of `make lab` a pilot first.

The pilot, a short run of 02, measures how fast the GPUs are and what a launch costs, and so how long an epoch is to be.
A launch of step 02 takes 7.5 s on an H200 besides its measured steps, whatever their number. So a longer epoch buys
precision for less than another launch does; and on a slow GPU it must not be so long that three rounds miss the time.
"""

import math
import secrets
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from rich.console import Console

from common.campaigns.campaign import RoundCampaign
from common.campaigns.launcher import Launcher, LaunchError, Pace, step_number
from common.campaigns.launches import (
    NO_PROFILE,
    QUIET,
    RESULTS,
    History,
    Outcome,
    Overrides,
    PlannedLaunch,
    Sizes,
    newest_check,
    runs_in,
)
from common.messages import Message, message
from common.records import Environment, Launch, epoch_seconds, throughput
from common.requirements import as_recorded
from common.sentences import Sentences, language_of

PILOT_STEPS = 20
"""Of the pilot; and of all devices in an epoch, the fewest that are worth a launch."""
MEASURED_PER_LAUNCH = 2.5
"""Seconds of measured steps in step 02 for each second that a launch costs besides. 04 on N GPUs measures an N-th of
it, and costs more."""
LAUNCH_GROWS = 1.2
"""What a launch of 02, 03 or 04 costs on average, in launches of 02."""
SHARE_OF_ROUNDS = 0.75
"""Of the campaign's time. Step 01, the pilot, the profile of the first round and the page take the rest."""


class Session:
    """What is launched in the current folder by one start of a campaign."""

    here: Environment
    """The machine, and what has run there: known from `check_machine` on."""
    history: History

    def __init__(self, name: str, purpose: Message, overrides: Overrides, seed: int) -> None:
        self.name, self.overrides, self.seed = name, overrides, seed
        self.id = secrets.token_hex(8)
        self.launcher, self.pace = Launcher(), Pace()
        self.finished, self.total = 0, 0
        """Rounds: how many have run, how many there are to be; 0 where nobody knows that beforehand."""
        self.files_before = frozenset(RESULTS.glob("*"))
        self.words = Sentences(language_of())
        self._console = Console(highlight=False, soft_wrap=True)
        self._console.print(f"[bold]{name}:[/] {self.words.text(purpose)}")
        self.say(
            message("The order of each round is drawn at random: SEED={seed} draws the same ones again.", seed=seed)
        )

    def say(self, line: str | Message, gap: str = "") -> None:
        """One line as it is: a model's name may look like markup. `gap`: "\\n" for an empty line before it."""
        self._console.out(gap + self.words.text(line))

    def check_machine(self, check: str) -> None:
        """Run step 01, say what it warns of; its record says what the machine is. Raises `UsageError` where it has left
        none."""
        self.say(message("The machine, step 01: what its parts can do (about a minute)"), gap="\n")
        self.say(f"$ {check}")
        self.launcher.run(check)
        record = newest_check(self.files_before)
        for one, _ in as_recorded(record, self.words):
            if one.outcome == "warning":
                warning = message("warning: {name}: {found}; {advice}")
                self.say(warning.with_values(name=one.name, found=one.found, advice=one.advice))
        self.here, self.history = record.environment, History(RESULTS, record.environment)

    def launch(self, planned: PlannedLaunch, survives: Sequence[Outcome] = ()) -> Outcome:
        """Run a command under a heading; how it ended. Raises `LaunchError` where it does not end in a way that the
        campaign survives."""
        command, words = planned.command, self.words
        number, place = planned.place or (0, 0)
        heading = planned.heading or (message("Round {number}", number=number) if number else message("In between"))
        head = words.translate("{heading}, step {step}:", heading=heading, step=step_number(command))
        progress = words.text(planned.progress or self.pace.progress())
        gap = "" if place > 1 else "\n"
        self._console.print(f"{gap}[bold]{head}[/]{words.gap}{progress}")
        self.say(f"$ {command}")
        launch = Launch(campaign=self.name, id=self.id, seed=self.seed, round=number, place=place) if number else None
        started = monotonic()
        try:
            self.launcher.run(command, launch)
        except LaunchError as error:
            is_full = bool(survives) and self.history.newest_failure(command) == "out_of_memory"
            outcome: Outcome = "out_of_memory" if is_full else "failed"
            if self.launcher.is_stopped or outcome not in survives or not number:
                raise
            full = message("Out of memory: recorded, and the campaign goes on.")
            self.say(full if is_full else str(error), gap="\n")
            return outcome
        finally:
            self.pace.add(command, monotonic() - started)
        return "completed"

    def again(self) -> str:
        """The command for what is missing, so many rounds where that is known."""
        missing = self.total - self.finished if self.finished else None
        given = asdict(replace(self.overrides, repeats=missing or self.overrides.repeats))
        typed = {name: f"{value:g}" if isinstance(value, float) else value for name, value in given.items()}
        words = [f"{name.upper()}={value}" for name, value in typed.items() if value is not None]
        return shlex.join(["make", self.name, *words])

    def ended(self, end: LaunchError) -> int:
        """Say why the campaign ends before its time, and how to go on. Returns its exit code."""
        kept = message("the records of all that ran are in {folder}/. To go on: {again}")
        finished = message("{finished} of {total} rounds are finished; ", finished=self.finished, total=self.total)
        rounds = self.words.text(finished) if self.total else ""
        said = self.words.text(kept.with_values(folder=RESULTS, again=self.again()))
        print(f"\n{end}\n{rounds}{said}", file=sys.stderr)
        return end.code


def with_epochs_that_fit(session: Session, campaign: RoundCampaign) -> Overrides:
    """The session's overrides, and how many samples an epoch has. Without a word where there is nothing to choose.

    Raises `LaunchError` where the pilot fails, as step 02 would.
    """
    given = session.overrides
    if not session.here.gpus or campaign.tolerance is None or given.samples or given.epochs:
        return given
    devices = campaign.devices(session.here, given)
    sizes = campaign.sizes["cuda"].chosen(given, devices)
    with TemporaryDirectory() as folder:
        few = replace(sizes, epochs=1, samples=PILOT_STEPS * sizes.batch)
        command = few.command("single", flags=f"{NO_PROFILE}{QUIET} --results-dir {shlex.quote(folder)}")
        session.say(message("A pilot, to choose how long an epoch is (SAMPLES):"), gap="\n")
        session.say(f"$ {command}")
        started = monotonic()
        session.launcher.run(command)
        seconds = monotonic() - started
        records = runs_in(Path(folder))
    rate = throughput(records[0]) if records else None
    if not rate:
        return given
    besides = seconds - sum(epoch_seconds(records[0]))
    samples = epoch_samples(rate, besides, sizes, devices, 60 * (given.minutes or campaign.minutes))
    said = message("{rate:samples/s}, and {besides:.0f} s for a launch besides: SAMPLES={samples}")
    session.say(said.with_values(rate=rate, besides=besides, samples=samples))
    return replace(given, samples=samples)


def epoch_samples(rate: float, besides: float, sizes: Sizes, devices: int, seconds: float) -> int:
    """Samples of an epoch that is long enough for what a launch costs, and leaves three rounds within `seconds`.

    `rate` is one device's, in samples per second; `sizes.samples` is what an epoch has without a pilot.
    """
    steps_in = rate / sizes.epochs / sizes.batch  # of an epoch, for each second that 02 measures
    wanted = MEASURED_PER_LAUNCH * besides * steps_in
    # 03 may be no faster than 02; 04 is, about as many times as there are devices.
    fitting = (SHARE_OF_ROUNDS * seconds / 3 - 3 * LAUNCH_GROWS * besides) / (2 + 1 / devices) * steps_in
    usual = sizes.samples / sizes.batch
    steps = max(_coarse(min(wanted, fitting)), usual if usual <= fitting else PILOT_STEPS * devices)
    return math.ceil(steps / devices) * devices * sizes.batch


def _coarse(steps: float) -> int:
    """The next lower of 1, 2, 3, 4, 6, 8, 12, …: two campaigns on one machine are to choose the same."""
    power = 1 << max(0, math.floor(math.log2(max(1, steps))))
    return power * 3 // 2 if steps >= power * 1.5 and power > 1 else power
