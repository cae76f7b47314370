"""`make ladder`: what pays is kept, what does not or fails is dropped, and the records say where to go on."""

from __future__ import annotations

from campaigns.conftest import LEAVES_RECORDS

PAYS = """
too_large = {}
faster = lambda words: (2 if "bf16" in words else 1) * (0.4 if "--channels-last" in words else 1) * (
    1 + 0.001 * (launch % 3)) * (1.5 if words[words.index("--batch-size") + 1] == "32" else 1)
if "--compile" in sys.argv:
    sys.exit(3)
"""


def tried(lab):
    """What each launch of step 02 had beyond the start, in order."""
    found = []
    for launch in lab.log:
        words = launch["arguments"]
        if launch["step"] == "02":
            batch = words[words.index("--batch-size") + 1]
            found.append(" ".join([batch, *words[words.index("--anatomy-steps") + 2 :]]))
    return found


def test_each_switch_is_run_in_turn_with_what_stands_and_kept_where_it_pays(recording_lab):
    recording_lab.plant(PAYS + LEAVES_RECORDS)
    done = recording_lab.run("ladder", "--repeats", "3")
    assert done.returncode == 0, done.stderr
    bf16, dropped = "16 --precision bf16", "16 --precision bf16 --channels-last"
    top = "32 --precision bf16"
    assert tried(recording_lab) == [
        *["16", bf16] * 3,
        *[bf16, dropped],  # less than half as fast: one round is enough
        *[bf16, top] * 3,
        *[top, f"{top} --fused-optimizer"] * 3,  # 1.000 times as fast: dropped
        *[top, f"{top} --compile"],  # fails: dropped at once
        # The top rung's switches at the first batch have run already, as bf16.
    ]
    assert "exit code 3" in done.stdout
    assert recording_lab.steps[-1] == "05"


def test_it_goes_on_where_it_was(recording_lab):
    recording_lab.plant(f"if launch == 8: os.kill(os.getppid(), signal.SIGTERM); time.sleep(5)\n{PAYS}{LEAVES_RECORDS}")
    done = recording_lab.run("ladder")
    assert done.returncode == 128 + 15
    assert done.stderr.endswith("To go on: make ladder\n")
    recording_lab.plant(PAYS + LEAVES_RECORDS)
    recording_lab.run("ladder")
    bf16 = "16 --precision bf16"
    assert tried(recording_lab)[:10] == [
        *["16", bf16] * 3,
        bf16,
        f"{bf16} --channels-last",
        bf16,
        f"{bf16} --channels-last",
    ]


def test_a_start_that_fails_ends_it_in_one_line(recording_lab):
    recording_lab.plant("if step == '02': sys.exit(7)")
    done = recording_lab.run("ladder")
    assert done.returncode == 2
    assert done.stderr.startswith("error: what stood so far fails now, and its record says why: python 02_")
    done = recording_lab.run("ladder", "--repeats", "2")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "REPEATS=3" in done.stderr
