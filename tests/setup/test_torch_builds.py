"""Which torch a driver and GPUs can run."""

from __future__ import annotations

import re
import tomllib
from itertools import pairwise

import pytest
from conftest import ROOT

from common.requirements.needed_host import TORCH_VERSIONS
from common.setup.environments import BUILDS, lacking, too_old, torch_for

D535, D550, D570, D580 = "535.183.01", "550.54.15", "570.86.10", "580.65.06"


@pytest.mark.parametrize(
    ("driver", "capabilities", "requirement", "cuda"),
    [
        # Drivers before 580 run every CUDA 12: the newest torch whose wheel is built for that is 2.10.
        *((driver, ["8.0"], "torch<2.11", (12, 8)) for driver in (D535, D550, D570)),
        *((driver, ["7.5"] * 2, "torch<2.11", (12, 8)) for driver in (D535, D550, D570)),
        (D580, ["8.0"], "torch", (13, 2)),
        (D580, ["7.5"] * 2, "torch", (13, 2)),
        (D580, ["9.0"] * 8, "torch", (13, 2)),
        (D580, ["8.9"], "torch", (13, 2)),  # built for 8.6
        # P100: nothing is built for it since 2.8, whatever the driver; V100: nothing since 2.11.
        *((driver, ["6.0"], "torch<2.8", (12, 6)) for driver in (D535, D550, D570, D580)),
        *((driver, ["6.1"], "torch<2.8", (12, 6)) for driver in (D535, D580)),
        *((driver, ["7.0"] * 4, "torch<2.11", (12, 8)) for driver in (D535, D550, D570, D580)),
        # Blackwell: nothing before 2.8.
        (D570, ["12.0"], "torch>=2.8,<2.11", (12, 8)),
        (D580, ["12.0"], "torch>=2.8", (13, 2)),
        (D580, ["10.3"], "torch>=2.8", (13, 2)),
        # GPUs that no version serves together: as many as can be.
        (D580, ["7.0", "7.5"], "torch<2.11", (12, 8)),
        (D580, ["6.0", "6.0", "12.0"], "torch<2.8", (12, 6)),
        # Without GPUs, or where the driver does not say which it is, nothing keeps from the newest.
        (None, [], "torch", (13, 2)),
        (D535, [], "torch", (13, 2)),
        (None, ["8.0"], "torch", (13, 2)),
    ],
)
def test_the_newest_torch_that_runs(driver, capabilities, requirement, cuda):
    fit = torch_for(driver, capabilities)
    assert (fit.requirement, fit.cuda) == (requirement, cuda)


@pytest.mark.parametrize(("driver", "capabilities"), [("470.256.02", ["8.0"]), (D580, ["3.7"])])
def test_no_torch_runs(driver, capabilities):
    assert torch_for(driver, capabilities) is None


def test_it_is_named_with_its_cuda():
    assert str(torch_for(D535, ["8.0"])) == "torch 2.6 to 2.10 (CUDA 12.8)"
    assert str(torch_for(D570, ["6.0", "6.1"])) == "torch 2.6 to 2.7 (CUDA 12.6)"


@pytest.mark.parametrize(
    ("driver", "cuda", "needed"),
    [("525.60.13", (12, 8), None), ("525.60.11", (12, 4), "525.60.13"), (D570, (13, 0), D580), (None, (13, 0), None)],
)
def test_a_driver_serves_every_minor_version_of_its_cuda(driver, cuda, needed):
    assert too_old(driver, cuda) == needed


def test_code_runs_on_later_minor_numbers_of_its_architecture_alone():
    gpus = ["7.5", "8.0", "8.6", "8.9", "9.0", "7.0"]
    assert lacking(["sm_75", "sm_86"], gpus) == ["sm_80", "sm_90", "sm_70"]
    assert lacking(["sm_75", "compute_86"], gpus) == ["sm_80", "sm_70"]
    assert lacking(["sm_90a"], ["9.0", "10.0"]) == ["sm_100"]
    assert lacking(["gfx90a"], ["9.0"]) == ["sm_90"]


def test_the_table_is_of_the_versions_that_the_lab_is_made_for():
    assert (BUILDS[0].first, BUILDS[-1].last) == TORCH_VERSIONS
    for before, after in pairwise(BUILDS):
        assert after.first == (2, before.last[1] + 1)
    [torch] = [name for name in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
               if re.match(r"torch\b", name)]  # fmt: skip
    assert torch == f"torch>=2.{BUILDS[0].first[1]},<2.{BUILDS[-1].last[1] + 1}"
