"""How a campaign runs: order, rounds, time, failures."""

import re
from itertools import pairwise

import pytest

from campaigns.conftest import LEAVES_RECORDS

METHODS = {"02", "03", "04"}
# The same speeds in all rounds, but for a scatter.
STEADY = "too_large, faster = {}, {'02': 1, '03': 0.9, '04': 1.9}.get(step, 1) * (1 + 0.001 * (launch % 2))\n"
SCATTERED = STEADY.replace("0.001 * (launch % 2)", "0.1 * (launch % 2) * (step == '03')") + LEAVES_RECORDS
STEADY += LEAVES_RECORDS


def rounds_of(lab) -> list[list[str]]:
    """The steps of each round, in order, by what the campaign told them."""
    told = [(launch["place"], launch["step"]) for launch in lab.log if launch["place"]]
    last = max(place["round"] for place, _ in told)
    rounds = [
        [(place["place"], step) for place, step in told if place["round"] == number] for number in range(1, last + 1)
    ]
    assert all([place for place, _ in of_round] == list(range(1, len(of_round) + 1)) for of_round in rounds)
    return [[step for _, step in of_round] for of_round in rounds]


def after_rounds(output: str) -> list[tuple[str, str]]:
    """The two lines that follow each round."""
    return re.findall(r"^(After \d+ rounds?: .+)\n(.+)$", output, re.M)


def test_rounds_in_drawn_orders_and_the_page_after_the_first_and_at_the_end(fake_lab):
    done = fake_lab.run("lab", "--repeats", "4")
    assert done.returncode == 0, done.stderr
    steps = fake_lab.steps
    assert (steps[0], steps[4], steps[-1], steps.count("05")) == ("01", "05", "05", 2)
    rounds = rounds_of(fake_lab)
    assert [set(steps) for steps in rounds] == [METHODS] * 4
    assert all({of[place] for of in rounds[:3]} == METHODS for place in range(3))  # each in every place once
    quiet = [launch for launch in fake_lab.log if "--quiet" in launch["arguments"]]
    assert [launch["step"] for launch in quiet] == steps[:-1]  # the last one says what to do
    assert "--brief" in fake_lab.log[-1]["arguments"]
    assert "Done in" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["lab", "exchanges"])
def test_a_seed_draws_the_same_orders_again_and_every_record_can_tell_it(fake_lab, name):
    def started(*seed):
        before = len(fake_lab.log)
        done = fake_lab.run(name, "--repeats", "2", *seed)
        assert done.returncode == 0, done.stderr
        return done.stdout, [launch for launch in fake_lab.log[before:] if launch["place"]]

    output, first = started()
    (drawn,) = re.findall(r"SEED=(\d+)", output)
    assert {launch["place"]["seed"] for launch in first} == {int(drawn)}
    assert {launch["place"]["campaign"] for launch in first} == {name}
    _, again = started("--seed", drawn)
    assert [len({launch["place"]["id"] for launch in launches}) for launches in (first, again, first + again)] == [
        1,
        1,
        2,
    ]
    assert [launch["arguments"] for launch in again] == [launch["arguments"] for launch in first]


def test_every_command_is_shown_as_a_person_would_type_it(fake_lab):
    output = fake_lab.run("lab", "--repeats", "1").stdout
    shown = re.findall(r"^\$ (.+)$", output, re.M)
    assert sorted(line.split()[0] for line in shown) == ["python", "python", "python", "python", "torchrun"]
    for line, launch in zip(shown, fake_lab.log, strict=True):
        assert line.endswith(" ".join(launch["arguments"]))
    first, second = fake_lab.steps[:2]
    places = [output.index(text) for text in (shown[0], f"output of {first}", shown[1], f"output of {second}")]
    assert places == sorted(places)
    assert "OMP_NUM_THREADS" not in output


def test_rounds_until_each_ratio_is_precise(fake_lab, recording_lab):
    recording_lab.plant(STEADY)
    done = recording_lab.run("lab")
    assert done.returncode == 0, done.stderr
    assert len(rounds_of(recording_lab)) == 3  # at least
    first, second, third = after_rounds(done.stdout)
    assert re.fullmatch(
        r"After 1 round: DP 0\.90 ×, DDP 1\.90 × one core; DDP 2\.11 × DP; intervals from 3 rounds on\.", first[0]
    )
    assert "(" not in second[0]
    assert re.fullmatch(r"Next: round 3 of 3, about \d+ s\.", second[1])
    assert re.match(
        r"After 3 rounds: DP 0\.90 × \(0\.90–0\.90\), DDP 1\.90 × \(1\.90–1\.90\) one core; DDP 2\.11 ", third[0]
    )
    assert third[1] == "Each ratio is known to ± 3 % (TOLERANCE): enough."


def test_a_campaign_speaks_the_language_of_the_locale(recording_lab, monkeypatch):
    monkeypatch.setenv("LC_ALL", "zh_TW.UTF-8")
    recording_lab.plant(STEADY)
    done = recording_lab.run("lab")
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if "output of" not in line and line[:2] != "$ "]
    assert [line for line in said if re.search("[a-z]{2} [a-z]{2}", line)] == []
    assert "\n第 3 輪，至少 3 輪，步驟 0" in done.stdout
    ratios = r"3 輪之後：與單一核心相比，DP 的速度是 0\.90 倍（0\.90–0\.90），DDP 是 1\.90 倍（1\.90–1\.90）；"
    assert re.search(rf"^{ratios}DDP 是 DP 的 2\.11 倍（.*）。\n各比值的誤差都在 ±3% 以內", done.stdout, re.MULTILINE)


def test_rounds_are_added_with_the_reason_until_the_tolerance(recording_lab):
    recording_lab.plant(SCATTERED)
    done = recording_lab.run("lab", "--tolerance", "8")
    assert done.returncode == 0, done.stderr
    said = after_rounds(done.stdout)
    assert len(said) == len(rounds_of(recording_lab)) > 3
    for number, (_, why) in enumerate(said[2:-1], 4):
        widest, expected = re.fullmatch(
            rf"\S+.* is known to ± ([\d.]+) % and not yet to ± 8 % .TOLERANCE.: round {number} is added, about \d+ s; "
            r"the widest interval, .+, would become about ± ([\d.]+) %\.", why).groups()  # fmt: skip
        assert float(expected) < float(widest)
    assert said[-1][1] == "Each ratio is known to ± 8 % (TOLERANCE): enough."


def test_time_ends_it_before_the_tolerance(recording_lab):
    recording_lab.plant(f"if step == '03': time.sleep(0.7)\n{SCATTERED}")
    done = recording_lab.run("lab", "--tolerance", "0.1", "--minutes", "0.15")
    assert done.returncode == 0, done.stderr
    # The page at the end took no time, and is expected to take as long as the first one.
    assert 3 <= len(rounds_of(recording_lab)) <= 9 / 0.7
    last = after_rounds(done.stdout)[-1][1]
    assert re.fullmatch(r"D\S+.* not yet to ± 0\.1 % .+ another round, about \d+ s, would end after 9 s \(MINUTES\)\.",
                        last)  # fmt: skip
    assert recording_lab.steps[-1] == "05"


@pytest.mark.parametrize(("given", "rounds"), [([], 1), (["--repeats", "2"], 2)])
@pytest.mark.parametrize("name", ["lab", "exchanges"])
def test_no_round_starts_after_the_time_is_up_unless_rounds_are_asked_for(fake_lab, name, given, rounds):
    done = fake_lab.run(name, *given, "--minutes", "0.0001")
    assert done.returncode == 0
    assert len(rounds_of(fake_lab)) == rounds
    assert (f"For the rest: make {name} REPEATS=2 MINUTES=0.0001" in done.stdout) == (not given)
    assert done.stdout.count("no new round after") == (0 if given else 2)  # said before and when it happens


def test_two_lines_for_a_launch_and_two_for_a_round(recording_lab):
    recording_lab.plant(STEADY)
    output = recording_lab.run("lab").stdout
    of_round_2 = output[output.index("Round 2 of") : output.index("Round 3 of")].splitlines()
    own = [line for line in of_round_2 if line and not line.startswith("output of")]
    assert len(own) == 2 * 3 + 2


def test_the_time_left_never_grows_but_with_a_round_that_is_added(recording_lab):
    # The first launch of a step is the quickest; the second round takes three times as long.
    recording_lab.plant(f"time.sleep(0.3 * min(launch, 3) * (step in ('02', '03', '04')))\n{SCATTERED}")
    output = recording_lab.run("lab", "--tolerance", "25", "--seed", "1").stdout
    headings = re.findall(r"^Round (\d+) of \d+ or more, step \d\d: .+? gone(?:, about (\d+) s left)?$", output, re.M)
    assert len(headings) == 3 * len(rounds_of(recording_lab))
    assert [left for number, left in headings if number == "1"] == [""] * 3  # nothing is known yet of what is to come
    left = [(number, int(left)) for number, left in headings if left]
    grew = [later for (_, before), (later, after) in pairwise(left) if after > before]
    assert set(grew) <= {number for number, _ in left if int(number) > 3}


def test_time_left_is_that_of_the_last_launch_of_each_step():
    from common.campaigns.session import Pace, in_minutes

    pace = Pace()
    assert pace.of(["python 02_a.py"]) is None
    pace.add("python 02_a.py --first", 40)
    pace.add("torchrun 04_c.py", 20)
    pace.add("python 02_a.py", 10)
    assert pace.of(["python 02_a.py", "torchrun 04_c.py", "python 02_a.py"]) == 10 + 20 + 10
    assert pace.of(["python 02_a.py", "python 03_b.py"]) is None  # nobody has seen it
    assert pace.progress(["python 02_a.py"])["left"] == "10 s"
    pace.add("python 02_a.py", 30)
    assert pace.progress(["python 02_a.py"])["left"] == "10 s"
    pace.allow(5)
    assert pace.progress(["python 02_a.py"])["left"] == "15 s"
    assert [in_minutes(seconds) for seconds in (0.4, 59.4, 59.6, 425)] == ["0 s", "59 s", "1 min", "7 min 5 s"]


@pytest.mark.parametrize("step", ["01", "02", "03", "04", "05"])
def test_a_failing_step_ends_the_campaign_with_its_code(fake_lab, step):
    fake_lab.plant(f"if step == {step!r}: print('the reason', file=sys.stderr); sys.exit(7)")
    done = fake_lab.run("lab", "--repeats", "2", "--seed", "3")
    assert done.returncode == 7
    assert (fake_lab.steps[-1], fake_lab.steps.count(step)) == (step, 1)
    reason, _, last, again = done.stderr.splitlines()
    assert reason == "the reason"
    assert re.fullmatch(rf"error: step {step} failed, exit code 7: (python|torchrun .+) {step}_\w+\.py.*", last)
    assert again.endswith(f"To go on: make lab REPEATS={1 if step == '05' else 2} SEED=3")


def test_a_second_03_that_fails_leaves_the_first_round_and_its_page(recording_lab):
    recording_lab.plant(f"if (step, launch) == ('03', 2): print('why', file=sys.stderr); sys.exit(9)\n{STEADY}")
    done = recording_lab.run("lab", "--model", "resnet18")
    assert done.returncode == 9
    assert (recording_lab.steps[4], recording_lab.steps[-1]) == ("05", "03")
    kept = [path.name[:2] for path in (recording_lab.folder / "results").glob("0[234]_*")]
    assert sorted(kept) == sorted(recording_lab.steps[1:4] + recording_lab.steps[5:-1])
    assert done.stderr.startswith("why\n")
    assert "1 of 3 rounds are finished; the records of all that ran are in results/" in done.stderr
    assert done.stderr.endswith("To go on: make lab MODEL=resnet18 REPEATS=2\n")


def test_records_that_do_not_come_add_no_rounds(fake_lab):
    done = fake_lab.run("lab")
    assert (done.returncode, len(rounds_of(fake_lab))) == (0, 3)
    assert "Records of 3 rounds are missing" in done.stdout


def test_a_step_that_is_killed(fake_lab):
    fake_lab.plant("if step == '02': os.kill(os.getpid(), signal.SIGKILL)")
    done = fake_lab.run("lab")
    assert done.returncode == 128 + 9
    assert "error: step 02 failed, killed by SIGKILL: python 02_" in done.stderr


@pytest.mark.parametrize(("devices", "threads"), [("2", "1"), ("1", None)])
def test_torchrun_has_no_reason_to_warn_of_threads(fake_lab, devices, threads):
    fake_lab.run("lab", "--repeats", "1", "--devices", devices)
    assert {launch["step"]: launch["omp"] for launch in fake_lab.log} == {
        "01": None, "02": None, "03": None, "04": threads, "05": None}  # fmt: skip


def test_the_machine_is_the_one_that_step_01_has_just_seen(fake_lab):
    other = (fake_lab.folder / "environment.json").read_text().replace('"cpu_cores": 2', '"cpu_cores": 64')
    for name, text in (("zzz", other), ("damaged", "{"), ("older", "{}")):
        (fake_lab.folder / f"results/01_environment-{name}.json").write_text(text)
    in_future = "for path in Path('results').glob('01_environment-z*'): os.utime(path, (2**32, 2**32))"
    damages = "if step == '01': Path('results/01_zz.json').write_text('{'); os.mkfifo('results/01_pipe.json')"
    fake_lab.plant(f"{in_future}\n{damages}")
    fake_lab.environment(gpus=[], cpu_cores=3)
    done = fake_lab.run("lab", "--repeats", "1")
    assert done.returncode == 0, done.stderr
    (dp,) = [launch for launch in fake_lab.log if launch["step"] == "03"]
    assert dp["arguments"][-5:] == ["--samples-per-epoch", "192", "--gpus", "0,1,2", "--quiet"]


def test_no_record_of_step_01_ends_it_in_one_line(fake_lab):
    (fake_lab.folder / "results/01_environment-of-another.json").write_text(
        (fake_lab.folder / "environment.json").read_text()
    )
    fake_lab.plant("if step == '01': [path.unlink() for path in Path('results').glob('01_environment-1*')]")
    done = fake_lab.run("lab")
    assert (done.returncode, fake_lab.steps) == (2, ["01"])
    assert re.fullmatch(r"error: no record of step 01 .+\n", done.stderr)


@pytest.mark.parametrize("arguments", [
    ["lab", "--batch", "0"], ["lob"], ["lab", "--dry-run"], ["lab", "--repeats", str(10**12)],
    ["lab", "--repeats", "1001"], ["lab", "--tolerance", "0"], ["lab", "--tolerance", "x"], ["lab", "--minutes", "-1"],
    ["lab", "--model", "resnet81"], ["lab", "--model", "resnet81", "--dry-run"], ["ladder", "--model", "no_file.py"],
    ["lab", "--minutes", "nan"], ["lab", "--seed", "-1"], ["lab", "--seed", "1.5"], ["sweep", "--tolerance", "3"],
])  # fmt: skip
def test_bad_input_is_one_line(fake_lab, arguments):
    done = fake_lab.run(*arguments)
    assert (done.returncode, done.stdout, fake_lab.log) == (2, "", [])
    assert re.fullmatch(r"error: .+\n", done.stderr)


def test_the_runner_does_not_import_torch(fake_lab):
    code = "import atexit, runpy, sys; atexit.register(lambda: print(*sys.modules)); "
    code += "runpy.run_module('common.campaigns', run_name='__main__')"
    process = fake_lab.start("lab", "--repeats", "1", program=("-c", code))
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    modules = output.splitlines()[-1].split()
    assert "common.campaigns.rounds" in modules
    assert not {"torch", "numpy", "pandas"} & set(modules)


def test_help_names_each_campaign_and_what_a_model_may_be(fake_lab):
    text = fake_lab.run("--help").stdout
    assert re.search(r"\n  my_exchange +step 04 with the exchange of ", text)
    assert "a torchvision classifier, timm:NAME, hf:TYPE, or my_model.py:build" in " ".join(text.split())
