"""What a new thread costs one device, and what that means for DataParallel, in words."""

import pytest

from analysis.factories import make_record
from analysis.profile_factories import make_profile
from analysis.reading.test_thread_costs import layer, threads_of_forward
from analysis.views import groups_of, said
from common.analysis.judging.reasons import new_thread_lines
from common.analysis.sections.row_tables import layers_table, new_thread_section


def row_with(found, kind="cuda"):
    (group,) = groups_of(make_record(kind=kind, anatomy=make_profile("single", threads_of_forward=found)))
    return group.main_rows[0]


def test_convolutions_that_differ_in_shape_pay_and_each_replica_pays_them():
    layers = [layer("a"), layer("b"), layer("c", new=0.1, same_as="a"), layer("norm", "BatchNorm2d", new=0.1)]
    row = row_with(threads_of_forward(layers))
    cost, of_layers, meaning = said(new_thread_lines(row))
    assert "takes 65.0 ms with its forward pass in a thread that has just started, and 32.0 ms" in cost
    assert "33.0 ms more" in cost
    assert of_layers.startswith("2 of 3 convolutions are slower in a new thread: the 2 that differ in shape")
    assert "Inferred: a step of DP loses between 33.0 ms" in meaning
    names = [str(line.cells[0].value) for line in layers_table(row).lines]
    assert names[:2] == ["a", "b"]
    assert len(names) == 4


def test_other_layers_than_the_ones_that_differ_are_not_called_these():
    layers = [layer("a"), layer("b", new=0.1), layer("c", same_as="a")]
    (_, of_layers, _) = said(new_thread_lines(row_with(threads_of_forward(layers))))
    assert of_layers.startswith("2 of 3 convolutions are slower in a new thread (2 differ in shape)")


@pytest.mark.parametrize(("timed", "kind"), [("step", "cuda"), ("forward", "cpu")])
def test_without_a_cost_nothing_is_said_of_dataparallel(timed, kind):
    (line,) = said(new_thread_lines(row_with(threads_of_forward(new=31.9, timed=timed), kind)))
    assert "no measurabl" in line
    assert ("On CPU cores" in line) == (kind == "cpu")


def test_where_nothing_was_measured_nothing_is_said():
    (group,) = groups_of(make_record(anatomy=make_profile("single")))
    assert new_thread_section(group) == []
