"""A short run of 02 before `make lab` on GPUs: how fast they are, what a launch costs, and so how long an epoch is.

A launch of step 02 takes 7.5 s on an H200 besides its measured steps, whatever their number. So a longer epoch buys
precision for less than another launch does; and on a slow GPU it must not be so long that three rounds miss the time.
"""

import math
import shlex
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from common.campaigns.campaign import RoundCampaign
from common.campaigns.launches import NO_PROFILE, QUIET, Overrides, Sizes, runs_in
from common.campaigns.session import Session
from common.messages import message

PILOT_STEPS = 20
"""Of the pilot; and of all devices in an epoch, the fewest that are worth a launch."""
MEASURED_PER_LAUNCH = 2.5
"""Seconds of measured steps in step 02 for each second that a launch costs besides. 04 on N GPUs measures an N-th of
it, and costs more."""
LAUNCH_GROWS = 1.2
"""What a launch of 02, 03 or 04 costs on average, in launches of 02."""
SHARE_OF_ROUNDS = 0.75
"""Of the campaign's time. Step 01, the pilot, the profile of the first round and the page take the rest."""


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
    rate = records[0].throughput if records else None
    if not rate:
        return given
    besides = seconds - sum(records[0].epoch_seconds)
    samples = epoch_samples(rate, besides, sizes, devices, 60 * (given.minutes or campaign.minutes))
    text = message("{rate:samples/s}, and {besides:.0f} s for a launch besides: SAMPLES={samples}")
    session.say(text.with_values(rate=rate, besides=besides, samples=samples))
    return replace(given, samples=samples)


def epoch_samples(rate: float, besides: float, sizes: Sizes, devices: int, seconds: float) -> int:
    """Samples of an epoch that is long enough for what a launch costs, and leaves three rounds within `seconds`.

    `rate` is one device's, in samples per second; `sizes.samples` is what an epoch has without a pilot.
    """
    steps_in = rate / sizes.epochs / sizes.batch  # of an epoch, for each second that 02 measures
    wanted = MEASURED_PER_LAUNCH * besides * steps_in
    # 03 may be no faster than 02; 04 is, about as many times as there are devices.
    fitting = (SHARE_OF_ROUNDS * seconds / 3 - 3 * LAUNCH_GROWS * besides) / (2 + 1 / devices) * steps_in
    # The next lower of 1, 2, 3, 4, 6, 8, 12, …: two campaigns on one machine are to choose the same.
    most = max(1, min(wanted, fitting))
    power = 2 ** math.floor(math.log2(most))
    coarse = power * 3 // 2 if most >= power * 1.5 and power > 1 else power
    usual = sizes.samples / sizes.batch
    steps = max(coarse, usual if usual <= fitting else PILOT_STEPS * devices)
    return math.ceil(steps / devices) * devices * sizes.batch
