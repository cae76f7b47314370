"""The README, the documents and the files that they show hold together."""

import difflib
import re
import shutil

import pytest
from conftest import ROOT

TRANSLATED = [
    f"docs/{name}"
    for name in (
        *("README", "checkpoints", "exercise", "lesson", "setup", "troubleshooting", "your_script"),
        *("teaching/handout", "teaching/plan", "teaching/solutions"),
    )
]
STEPS = ["02_baseline_single_gpu.py", "03_dataparallel_training.py", "04_ddp_training.py"]


def lesson(script: str) -> list[str]:
    """The lines of `train` after its imports: what the step teaches."""
    _, _, body = (ROOT / script).read_text().partition("import Training, create_optimizer\n\n")
    return body.partition("\n\n\nif __name__")[0].splitlines()


def lesson_diff(old: str, new: str) -> str:
    lines = list(difflib.unified_diff(lesson(old), lesson(new), lineterm="", n=1))[2:]
    return "\n".join(line for line in lines if not line.startswith("@@"))


@pytest.mark.parametrize(("old", "new"), [STEPS[:2], STEPS[1:]])
@pytest.mark.parametrize("name", ["lesson.md", "lesson.zh-TW.md"])
def test_the_lesson_shows_how_two_steps_differ(old, new, name):
    shown = re.findall(r"```diff\n(.*?)\n```", (ROOT / "docs" / name).read_text(), flags=re.DOTALL)
    assert lesson_diff(old, new) in shown


PUBLISHED = """
    python 01_environment_check.py
    python 02_baseline_single_gpu.py --model resnet50 --batch-size 64 --epochs 5
    python 03_dataparallel_training.py --model resnet50 --batch-size 256 --epochs 5 --gpus 0,1,2,3
    torchrun --nproc_per_node=4 04_ddp_training.py --model resnet50 --batch-size 64 --epochs 5
    python 05_performance_comparison.py --results-dir ./results --generate-plots --output-report comparison_report.html
"""


@pytest.mark.parametrize("name", ["README.md", "README.zh-TW.md"])
def test_the_readme_is_short_and_has_the_published_commands(name):
    text = (ROOT / name).read_text()
    assert PUBLISHED in text
    assert len(text.split()) <= 1600


@pytest.mark.parametrize(("old", "new", "most"), [(*STEPS[:2], 20), (*STEPS[1:], 40)])
def test_a_step_is_the_one_before_and_one_idea(old, new, most):
    """By `diff`: lines that only one of the two has, docstrings and imports included."""
    lines = difflib.ndiff(*((ROOT / script).read_text().splitlines() for script in (old, new)))
    assert sum(line[0] in "+-" for line in lines) <= most


def test_the_training_step_is_the_same_in_all_three():
    steps = {(ROOT / script).read_text().partition("def train_step")[2].partition("\n\n\n")[0] for script in STEPS}
    assert len(steps) == 1
    assert "backward()" in steps.pop()


def test_the_lesson_trains_as_step_04_does_but_for_the_wrapper():
    train = "\n".join(lesson(STEPS[2])).partition("\n\n\ndef train_step")[0].splitlines()
    by_hand = (ROOT / "lessons" / "hand_built_ddp.py").read_text().splitlines()
    missing = [line for line in train if line not in by_hand]
    assert [line.split("(")[0].strip() for line in missing] == ["model = DistributedDataParallel", "register_comm_hook"]


@pytest.mark.parametrize("script", STEPS)
def test_a_step_fits_on_a_screen(script):
    assert 40 <= len((ROOT / script).read_text().splitlines()) <= 96


def test_the_way_of_a_steps_time_to_the_page_is_of_functions_that_there_are():
    _, _, way = (ROOT / "docs" / "measurement.md").read_text().partition("**From a step to the page**")
    functions = re.findall(r"`(?:\w+\.)?(\w+)`", way.partition("\n\n")[0])
    source = "\n".join(path.read_text() for path in (ROOT / "common").rglob("*.py"))
    assert len(functions) == 15
    assert [name for name in functions if not re.search(rf"def {name}\(", source)] == []


def test_every_path_in_the_documents_exists():
    for document in [*ROOT.glob("README*.md"), *(ROOT / "docs").rglob("*.md")]:
        for path in re.findall(
            r"`((?:common|tests|docs|benchmarks|templates|results/examples)/[\w./-]*)`", document.read_text()
        ):
            assert (ROOT / path).exists(), f"{document.name}: {path}"


@pytest.mark.parametrize("tail", [".md", ".zh-TW.md"])
def test_the_index_names_every_document_in_the_readers_language(tail):
    linked = set(re.findall(r"\]\(([^)#\s]+)", (ROOT / "docs" / f"README{tail}").read_text()))
    names = {path.relative_to(ROOT / "docs").as_posix().removesuffix(".md").removesuffix(".zh-TW")
             for path in (ROOT / "docs").rglob("*.md")} - {"README"}  # fmt: skip
    in_language = {name: name + (tail if (ROOT / "docs" / f"{name}{tail}").exists() else ".md") for name in names}
    assert set(in_language.values()) <= linked


def listing(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.strip("\n").splitlines())


@pytest.mark.parametrize(
    ("language", "report", "verdict", "readme"),
    [("en", "\nWritten: ", "Verdict: ", "README.md"), ("zh-TW", "\n已寫入：", "結論：", "README.zh-TW.md")],
)
def test_the_listings_show_what_step_05_says_of_the_example(
    tmp_path, run_comparison, language, report, verdict, readme
):
    folder = shutil.copytree(ROOT / "results" / "examples" / "cpu", tmp_path / "results")
    done = run_comparison(
        "--results-dir", str(folder), "--output-report", str(tmp_path / "report.html"), "--lang", language
    )
    said, _, rest = done.stdout.partition(report)
    end = listing(rest[rest.index(verdict) :])
    assert end in (ROOT / readme).read_text()
    if language == "en":
        for part in (listing(said), end):
            assert part in (ROOT / "docs" / "steps.md").read_text()


@pytest.mark.parametrize("name", ["README", *TRANSLATED])
def test_a_document_in_two_languages_has_the_same_commands_and_numbers(name):
    english, chinese = ((ROOT / f"{name}{tail}.md").read_text() for tail in ("", ".zh-TW"))
    commands = re.compile(
        r"^    (?:python|torchrun|make|for|done) ?[^#\n]*|^[-+!].*$|`(?:python|torchrun) .*?`", re.MULTILINE
    )
    figures = re.compile(r"\d[\d,.]*\d|\d")
    shown = [[line.replace("--lang zh-TW", "--lang en") for line in commands.findall(text) if not line.startswith("- ")
              and not line.startswith("![")] for text in (english, chinese)]  # fmt: skip
    assert shown[0] == shown[1]
    assert sorted(figures.findall(english)) == sorted(figures.findall(chinese))


def test_every_link_of_the_documents_leads_to_a_file():
    for document in [*ROOT.glob("README*.md"), *(ROOT / "docs").rglob("*.md")]:
        prose = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)", prose):
            assert target.startswith("http") or (document.parent / target).exists(), f"{document.name}: {target}"
