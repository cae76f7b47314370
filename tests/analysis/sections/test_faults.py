"""Faults caused on purpose: which records count, and what the page says of them, in both languages."""

import pytest

from analysis.factories import make_record, write
from analysis.views import without_marks
from common.analysis.page.rendering import draw_figures, render_page
from common.analysis.reading.folder import read_folder
from common.analysis.sections.exercise import five_checkpoints
from common.analysis.sections.other_sections import faults_section
from common.analysis.sections.report import build_report
from common.records import FaultRecord
from common.sentences import Sentences


def fault(name="rank_killed", at="2026-11-26T01:00:00+00:00", **more) -> FaultRecord:
    solved = {
        "named_by": "record",
        "sentence": "rank 1 was <killed>",
        "cured": True,
        "seconds": 9.0,
        "cure_seconds": 11.0,
    }
    return FaultRecord(
        run_id=f"fault_{name}_{at}_{len(more)}", fault=name, started_at=at, hostname="bench", torch="2.13.0",
        command="torchrun 04", cure_command="torchrun --max-restarts=1 04",
        **solved | {"seconds": 9.0, "cure_seconds": 11.0} | more,
    )  # fmt: skip


@pytest.fixture
def found(tmp_path):
    def read(*faults, others=()):
        write(tmp_path, make_record())
        (tmp_path / "faults").mkdir()
        for record in faults:
            (tmp_path / "faults" / f"{record.run_id}.json").write_text(record.model_dump_json())
        for name, text in others:
            (tmp_path / "faults" / name).write_text(text)
        return read_folder(tmp_path)

    return read


@pytest.mark.parametrize(
    ("language", "said"),
    [("en", ["A rank is killed (SIGKILL)", "1 of 2 faults were named and cured", "✓ in 20.0 s", "✗ not cured",
             "Left out: NCCL with two ranks on one GPU (needs a GPU)"]),
     ("zh-TW", ["被終止（SIGKILL）", "2 項故障中，1 項被指出並解決", "✓ 20.0 s", "✗ 未解決", "需要一個 GPU"])],
)  # fmt: skip
def test_the_page_shows_what_named_each_and_whether_it_was_cured(found, language, said):
    folder = found(fault(), fault("disk_full", cured=False), fault("two_ranks_one_gpu", missing="gpu", named_by=None))
    judged, words = build_report(folder), Sentences(language)
    page = render_page(judged, draw_figures(judged, words, with_png=False), words)
    section = without_marks(page[page.index('id="faults-caused"') :].split("</section>")[0])
    for text in (*said, "rank 1 was &lt;killed&gt;", "<pre>torchrun --max-restarts=1 04</pre>"):
        assert text in section, text


def test_a_page_without_faults_has_no_such_section(found):
    assert faults_section(found().faults) is None


def test_the_newest_counts_but_what_was_caused_more_than_what_was_left_out(found):
    old, new = fault(cured=False), fault(at="2026-11-26T02:00:00+00:00")
    left_out = fault(at="2026-11-26T03:00:00+00:00", missing="linux", named_by=None, cured=False)
    other = fault("without_torchrun", missing="linux", named_by=None)
    folder = found(new, old, left_out, other)
    assert folder.faults == [other, new]  # in the lab's order
    left_out = faults_section(folder.faults).contents[-1]
    assert [part.text for part in left_out.parts] == ["faults.left_out"]


def test_what_is_no_record_of_a_fault_is_named_and_left_out(found):
    unknown = fault().model_dump_json().replace("rank_killed", "meteorite")
    edited = fault().model_dump_json().replace('"cured":true', '"cured":"yes"')
    folder = found(fault(), others=[("fault_a.json", "{"), ("fault_b.json", unknown), ("fault_c.json", edited)])
    assert len(folder.faults) == 1
    assert [item.file for item in folder.skipped] == [f"faults/fault_{letter}.json" for letter in "abc"]


@pytest.mark.parametrize(
    ("changes", "id"),
    [({}, "is_solved"), ({"named_by": None}, "is_not_named"), ({"cured": False}, "is_not_cured"),
     ({"processes_left": 1}, "is_left")],
)  # fmt: skip
def test_outcomes(changes, id):
    table = faults_section([fault(**changes)]).contents[1]
    (line,) = table.lines
    assert line.cells[-1].value.text == f"faults.{id}"


def test_a_solved_fault_proves_the_third_checkpoint(found):
    solved = {one.id: one for one in five_checkpoints(build_report(found(fault(), fault("disk_full", cured=False))))}[
        "faults"
    ]
    proofs = {proof.id: proof.is_there for proof in solved.proofs}
    assert (proofs["lost_rank"], proofs["cured"], proofs["stopped"]) == (True, True, False)
    assert [line.text for line in solved.figures] == ["faults.solved"]


def test_an_unsolved_fault_proves_nothing(found):
    checked = {one.id: one for one in five_checkpoints(build_report(found(fault(cured=False))))}["faults"]
    assert not any(proof.is_there for proof in checked.proofs)
    assert checked.figures == []
