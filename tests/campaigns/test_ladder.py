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
    commands = []
    for launch in lab.log:
        words = launch["arguments"]
        if launch["step"] == "02":
            batch = words[words.index("--batch-size") + 1]
            commands.append(" ".join([batch, *words[words.index("--anatomy-steps") + 2 :]]))
    return commands


def in_rounds(lab):
    """The same, sorted within each round: its order is drawn."""
    numbers = [launch["place"]["round"] for launch in lab.log if launch["step"] == "02"]
    return [work for _, work in sorted(zip(numbers, tried(lab), strict=True))]


def test_each_switch_is_run_in_rounds_with_what_stands_and_kept_where_it_pays(recording_lab):
    recording_lab.plant(PAYS + LEAVES_RECORDS)
    done = recording_lab.run("ladder", "--repeats", "3", "--seed", "2")
    assert done.returncode == 0, done.stderr
    bf16, dropped = "16 --precision bf16", "16 --precision bf16 --channels-last"
    top = "32 --precision bf16"
    assert in_rounds(recording_lab)[:20] == [
        *["16", bf16] * 3,
        *[bf16, dropped],  # less than half as fast: one round is enough
        *[bf16, top] * 3,
        *[top, f"{top} --fused-optimizer"] * 3,  # 1.000 times as fast: dropped
    ]
    # Fails: dropped at once, before or after the other of its round. The top rung's switches at the first batch have
    # run already, as bf16.
    assert in_rounds(recording_lab)[20:] in ([f"{top} --compile"], [top, f"{top} --compile"])
    assert "exit code 3" in done.stdout
    first, second = (tried(recording_lab)[start : start + 2] for start in (0, 2))
    assert first == second[::-1]  # each came first once
    assert recording_lab.steps[-1] == "05"


def test_it_goes_on_where_it_was(recording_lab):
    recording_lab.plant(f"if launch == 8: os.kill(os.getppid(), signal.SIGTERM); time.sleep(5)\n{PAYS}{LEAVES_RECORDS}")
    done = recording_lab.run("ladder")
    assert done.returncode == 128 + 15
    assert done.stderr.endswith("To go on: make ladder\n")
    before = len(tried(recording_lab))
    recording_lab.plant(PAYS + LEAVES_RECORDS)
    recording_lab.run("ladder")
    bf16 = "16 --precision bf16"
    assert sorted(tried(recording_lab)[:6]) == sorted(["16", bf16] * 3)
    assert sorted(tried(recording_lab)[before : before + 2]) == [bf16, f"{bf16} --channels-last"]


def test_records_that_are_lost_end_it_in_one_line(recording_lab):
    recording_lab.plant(f"if launch >= 5: sys.exit(0)\n{PAYS}{LEAVES_RECORDS}")
    done = recording_lab.run("ladder")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "are missing, or say that they are another machine's" in done.stderr


def test_a_model_name_is_taken_as_it_is(recording_lab):
    recording_lab.plant("if step in ('02', '03', '04'): sys.exit(7)")
    name = "{x.__class__} [bold].py"
    (recording_lab.folder / name).touch()
    for campaign in ("ladder", "crossover", "lab"):
        done = recording_lab.run(campaign, "--model", name)
        assert "Traceback" not in done.stderr
        assert f"--model '{name}' " in done.stdout
    models = [launch["arguments"][1] for launch in recording_lab.log if launch["step"] in ("02", "03", "04")]
    assert set(models) == {name}


def test_a_start_that_fails_ends_it_in_one_line(recording_lab):
    recording_lab.plant("if step == '02': sys.exit(7)")
    done = recording_lab.run("ladder")
    assert done.returncode == 2
    assert done.stderr.startswith("error: what stood so far fails now, and its record says why: python 02_")
    done = recording_lab.run("ladder", "--repeats", "2")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "REPEATS=3" in done.stderr
