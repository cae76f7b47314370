"""Where a step goes: medians, the slowest rank, exposed communication, all by hand."""

from __future__ import annotations

import pickle

import pytest

from analysis.factories import make_record
from analysis.profile_factories import make_profile, make_rank, wobbling
from common.analysis.reading.runs import summarise
from common.analysis.reading.step_profile import PHASES, reduce_profile
from common.records import ProfileRecord, RankProfile


def reduced(method, *ranks, **changes):
    profile = make_profile(method, *ranks, **changes)
    return reduce_profile(make_record(method, 1 if method == "single" else 2, anatomy=profile))


def test_phases_are_medians_in_the_order_of_a_step():
    rank = reduced("dp").slowest
    assert list(rank.phases) == [name for name in PHASES if name in rank.phases]
    assert rank.phases["replicate"].value == pytest.approx(0.060)
    assert rank.step.value == pytest.approx(0.457)


def test_the_slowest_rank_has_the_most_work_of_its_own():
    """Rank 0 waits 100 ms for rank 1, which works longer: the longest step alone would not tell."""
    waiting, working = make_rank("ddp", 0, exchange=130), make_rank("ddp", 1, backward=309)
    profile = reduced("ddp", waiting, working)
    assert profile.ranks[0].step.value > profile.ranks[1].step.value
    assert profile.slowest.rank == 1


def test_exposed_communication_takes_the_slowest_rank_of_each_step():
    ranks = [make_rank("ddp", 0), make_rank("ddp", 1)]
    ranks[0].exchange_on_seconds, ranks[1].exchange_on_seconds = [4, 1, 5, 1, 5, 1], [1, 5, 1, 6, 1, 7]
    ranks[0].exchange_off_seconds, ranks[1].exchange_off_seconds = [2, 1, 2, 1, 2, 1], [1, 2, 1, 2, 1, 2]
    ranks[0].one_bucket_seconds = ranks[1].one_bucket_seconds = [9, 9, 9, 9, 9, 9]
    profile = reduced("ddp", *ranks)
    # on: 4 5 5 6 5 7, off: 2 2 2 2 2 2
    assert profile.exposed.value == 3
    assert profile.exposed.interval == (2, 5)
    assert profile.whole_exchange.value == 7
    assert profile.overlap_gain.value == 4
    assert profile.overlap_gain.interval == (2, 5)


def test_a_slow_step_that_hits_both_of_a_pair_cancels():
    drift = [1.0, 2.0, 8.0, 3.0, 1.0, 2.0]
    rank = make_rank("ddp")
    rank.exchange_on_seconds, rank.exchange_off_seconds = [one + 0.5 for one in drift], drift
    profile = reduced("ddp", rank)
    assert profile.exposed.interval == pytest.approx((0.5, 0.5))


def test_exposed_communication_of_dp_is_what_one_device_would_not_spend():
    """457 ms − 330 (slowest replica) − 1 (data wait) − 1 (loss) − 20 (optimizer)."""
    profile = reduced("dp")
    assert profile.exposed.value == pytest.approx(0.105)
    assert profile.exposed_share == pytest.approx(0.105 / 0.457)
    assert [replica.value for replica in profile.replicas] == pytest.approx([0.320, 0.330])


def test_one_device_has_nothing_exposed():
    profile = reduced("single")
    assert profile.exposed is profile.overlap_gain is profile.communication is None
    assert profile.exposed_share == 0.0


def test_torchs_clock_is_the_slowest_ranks():
    waiting, working = make_rank("ddp", 0), make_rank("ddp", 1, backward=400)
    waiting.communication_seconds = wobbling(500, 8)
    assert reduced("ddp", waiting, working).communication.value == pytest.approx(0.090)


def test_a_record_without_steps_has_no_profile():
    assert reduce_profile(make_record()) is None
    assert reduce_profile(make_record(anatomy=ProfileRecord(steps=5, note="out of memory"))) is None
    still = RankProfile(rank=0, step_seconds=[0.0] * 6, phases={})
    assert reduce_profile(make_record(anatomy=ProfileRecord(steps=6, ranks=[still]))) is None


def test_lists_of_unequal_length_are_survived():
    rank = RankProfile(rank=0, step_seconds=[1.0] * 7, phases={"forward": [], "exchange": [0.5]},
                       exchange_on_seconds=[2.0] * 7, exchange_off_seconds=[1.0] * 3)  # fmt: skip
    profile = reduced("ddp", rank, make_rank("ddp", 1))
    assert profile.exposed.count == 3
    assert profile.exposed.interval is None


def test_a_run_keeps_no_list_of_its_profile():
    long = make_record("ddp", 2, anatomy=make_profile("ddp", steps=4_000), steps=10)
    run = summarise("run.json", long)
    assert run.record.anatomy is None
    assert run.profile.slowest.step.count == 4_000
    assert len(pickle.dumps(run)) < 20_000
