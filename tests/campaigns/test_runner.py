"""How a campaign runs: order, rounds, time, failures."""

import re

import pytest

SHORT = 'from dataclasses import replace; launches.CAMPAIGNS["lab"] = replace(launches.CAMPAIGNS["lab"], last_start=0)'


def test_rounds_in_turn_and_the_page_after_each(fake_lab):
    done = fake_lab.run("lab", "--repeats", "2")
    assert done.returncode == 0, done.stderr
    assert fake_lab.steps == ["01", "02", "03", "04", "05", "02", "03", "04", "05"]
    assert "Done in" in done.stdout
    assert done.stderr == ""


def test_every_command_is_shown_as_a_person_would_type_it(fake_lab):
    output = fake_lab.run("lab", "--repeats", "1").stdout
    shown = re.findall(r"^\$ (.+)$", output, re.M)
    assert [line.split()[0] for line in shown] == ["python", "python", "python", "torchrun", "python"]
    for line, launch in zip(shown, fake_lab.log, strict=True):
        assert line.endswith(" ".join(launch["arguments"]))
    assert output.index(shown[0]) < output.index("output of 01") < output.index(shown[1]) < output.index("output of 02")
    assert "OMP_NUM_THREADS" not in output


def test_the_time_left_is_told_once_something_has_been_seen(fake_lab):
    output = fake_lab.run("lab", "--repeats", "2").stdout
    headings = re.findall(r"^Round .+$", output, re.M)
    assert len(headings) == 8
    assert headings[0].startswith("Round 1 of 2, step 02:")
    assert headings[-1].startswith("Round 2 of 2, step 05:")
    assert ["left" in heading for heading in headings] == [False] + [True] * 7


def test_time_left_is_that_of_the_last_launch_of_each_step():
    from common.campaigns.runner import Pace, in_minutes

    pace = Pace()
    assert pace.left(["python 02_a.py"]) is None
    pace.add("python 02_a.py --first", 40)
    pace.add("torchrun 04_c.py", 20)
    pace.add("python 02_a.py", 10)
    # 02 as it last was, 04, and 03, which nobody has seen, like the mean of the two.
    assert pace.left(["python 02_a.py", "torchrun 04_c.py", "python 03_b.py"]) == 10 + 20 + 15
    assert [in_minutes(seconds) for seconds in (0.4, 59.4, 59.6, 425)] == ["0 s", "59 s", "1 min", "7 min 5 s"]


@pytest.mark.parametrize(("given", "rounds"), [([], 1), (["--repeats", "2"], 2)])
def test_no_round_starts_after_the_time_is_up_unless_rounds_are_asked_for(fake_lab, given, rounds):
    done = fake_lab.run("lab", *given, before=SHORT)
    assert done.returncode == 0
    assert fake_lab.steps.count("05") == rounds
    assert ("For the rest: make lab REPEATS=2" in done.stdout) == (not given)
    assert done.stdout.count("none starts later than") == (0 if given else 2)  # said before and when it happens


@pytest.mark.parametrize("step", ["01", "02", "03", "04", "05"])
def test_a_failing_step_ends_the_campaign_with_its_code(fake_lab, step):
    fake_lab.plant(f"if step == {step!r}: print('the reason', file=sys.stderr); sys.exit(7)")
    done = fake_lab.run("lab", "--repeats", "2")
    assert done.returncode == 7
    assert fake_lab.steps == ["01", "02", "03", "04", "05"][: int(step)]
    reason, _, last, again = done.stderr.splitlines()
    assert reason == "the reason"
    assert re.fullmatch(rf"error: step {step} failed, exit code 7: (python|torchrun .+) {step}_\w+\.py.*", last)
    assert again.endswith("To run the rest: make lab REPEATS=2")


def test_a_step_that_fails_in_a_later_round_leaves_the_rounds_before(fake_lab):
    fake_lab.plant("if (step, launch) == ('03', 2): sys.exit(9)")
    done = fake_lab.run("lab", "--model", "resnet18")
    assert done.returncode == 9
    assert fake_lab.steps == ["01", "02", "03", "04", "05", "02", "03"]
    assert "1 of 3 rounds are finished" in done.stderr
    assert done.stderr.endswith("To run the rest: make lab MODEL=resnet18 REPEATS=2\n")


def test_a_step_that_is_killed(fake_lab):
    fake_lab.plant("if step == '02': os.kill(os.getpid(), signal.SIGKILL)")
    done = fake_lab.run("lab")
    assert done.returncode == 128 + 9
    assert "error: step 02 failed, killed by SIGKILL: python 02_" in done.stderr


@pytest.mark.parametrize(("devices", "threads"), [("2", "1"), ("1", None)])
def test_torchrun_has_no_reason_to_warn_of_threads(fake_lab, devices, threads):
    fake_lab.run("lab", "--repeats", "1", "--devices", devices)
    assert [launch["omp"] for launch in fake_lab.log] == [None, None, None, threads, None]


def test_the_machine_is_the_one_that_step_01_has_just_seen(fake_lab):
    (fake_lab.folder / "results/01_environment-older.json").write_text("{}")
    fake_lab.environment(gpus=[], cpu_cores=3)
    done = fake_lab.run("lab", "--repeats", "1")
    assert done.returncode == 0, done.stderr
    assert fake_lab.log[2]["arguments"][-4:] == ["--samples-per-epoch", "192", "--gpus", "0,1,2"]


def test_bad_input_is_one_line(fake_lab):
    for arguments in (["lab", "--batch", "0"], ["lob"], ["lab", "--dry-run"]):
        done = fake_lab.run(*arguments)
        assert (done.returncode, done.stdout, fake_lab.log) == (2, "", [])
        assert re.fullmatch(r"error: .+\n", done.stderr)


def test_the_runner_does_not_import_torch(fake_lab):
    done = fake_lab.run(
        "lab", "--repeats", "1", before="import atexit, sys; atexit.register(lambda: print(*sys.modules))"
    )
    assert done.returncode == 0
    modules = done.stdout.splitlines()[-1].split()
    assert "common.campaigns.runner" in modules
    assert not {"torch", "numpy", "pandas"} & set(modules)
