"""Colours as plain numbers: text has contrast, and colour-blind readers can tell apart what stands in one chart.

Vision is simulated by the matrices of Machado, Oliveira and Fernandes (2009), on linear RGB, severity 1. A distance is
Euclidean in OKLab (Ottosson 2020), times 100: about 2 is just noticeable.
"""

from __future__ import annotations

import re
from itertools import combinations, pairwise

import numpy as np
import pytest

from common.analysis.page.charts import COST_COLOURS, PHASE_COLOURS
from common.analysis.page.reason_plots import ITEM_COLOURS
from common.analysis.reading.step_profile import BETWEEN_DEVICES, PHASES
from common.records import METHODS
from common.sentences import TEMPLATES

VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_CONES = np.array([[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
                     [0.0883024619, 0.2817188376, 0.6299787005]])  # fmt: skip
TO_LAB = np.array([[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
                   [0.0259040371, 0.7827717662, -0.8086757660]])  # fmt: skip
APART = 6
SCHEMES = ("light", "dark")


def linear(colour: str) -> np.ndarray:
    """Red, green and blue of `#24292f`, from 0 to 1, proportional to light."""
    values = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """WCAG 2's, from 1 to 21."""
    darker, lighter = sorted(float(np.dot([0.2126, 0.7152, 0.0722], linear(colour))) for colour in (one, other))
    return (lighter + 0.05) / (darker + 0.05)


def oklab(colour: str, vision: str = "normal") -> np.ndarray:
    return TO_LAB @ np.cbrt(TO_CONES @ np.clip(np.array(VISION[vision]) @ linear(colour), 0, 1))


def distance(one: str, other: str, vision: str) -> float:
    return 100 * float(np.linalg.norm(oklab(one, vision) - oklab(other, vision)))


def hue(colour: str) -> float:
    """Degrees around OKLab's axis of greys."""
    return float(np.degrees(np.arctan2(*oklab(colour)[:0:-1])))


def palette(scheme: str) -> dict[str, str]:
    """The style sheet's colours by name, methods' included."""
    variables, _, _ = (TEMPLATES / "style.css").read_text().partition("* {")
    light, dark = variables.split("@media (prefers-color-scheme: dark)")
    found = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", {"light": light, "dark": dark}[scheme]))
    kind = {"light": "colour", "dark": "dark_colour"}[scheme]
    return found | {name: getattr(method, kind) for name, method in METHODS.items()}


def phase(name: str) -> str:
    return f"phase-{name.replace(' ', '-')}"


def charts() -> dict[str, list[tuple[str, str]]]:
    """Pairs of names that must be told apart, by chart. Hatching tells the phases of several devices from the others,
    unless they touch."""
    plain = [phase(name) for name in PHASES if name not in BETWEEN_DEVICES]
    hatched = [phase(name) for name in PHASES if name in BETWEEN_DEVICES]
    names = {colour: phase(name) for name, colour in PHASE_COLOURS.items()}
    names |= {colour: f"cost-{name.replace('_', '-')}" for name, colour in COST_COLOURS.items()}
    names |= {METHODS["single"].colour: "single"}
    items = [names[colour] for colour in dict.fromkeys(ITEM_COLOURS.values()) if colour in names]
    assert len(items) == 9
    return {
        "methods": list(combinations(("single", "dp", "ddp"), 2)),
        "phases": [*combinations(plain, 2), *combinations(hatched, 2), *pairwise(map(phase, PHASES))],
        "costs": list(combinations(items, 2)),
    }


def test_the_measures_themselves():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert distance("#000000", "#ffffff", "normal") == pytest.approx(100, abs=0.1)
    red, green = "#c04000", "#608000"  # of one lightness
    assert distance(red, green, "deuteranopia") < 0.5 * distance(red, green, "normal")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_has_contrast(scheme):
    """At least 4.5 (WCAG AA), on whatever it stands."""
    colours = palette(scheme)
    for back in ("page", "card"):
        for text in ("ink", "soft", "good", "warn", "bad", "link"):
            assert contrast(colours[text], colours[back]) >= 4.5, (text, back)
    assert contrast(colours["ink"], colours["warn-back"]) >= 4.5
    for state in ("warn", "bad"):
        assert contrast(colours[state], colours[f"{state}-back"]) >= 4.5
    for method in METHODS:
        assert contrast(colours[method], colours["card"]) >= 3, method  # WCAG's limit for what is no text


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_stands_in_one_chart_can_be_told_apart(scheme, vision):
    colours = palette(scheme)
    for chart, pairs in charts().items():
        close = [pair for pair in pairs if distance(*(colours[name] for name in pair), vision) < APART]
        assert close == [], chart


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_phase_and_no_cost_looks_like_a_method(scheme):
    colours = palette(scheme)
    others = [name for name in colours if name.startswith(("phase-", "cost-"))]
    assert len(others) == len(PHASES) + len(COST_COLOURS)
    close = [(name, method) for name in others for method in ("dp", "ddp")
             if distance(colours[name], colours[method], "normal") < APART]  # fmt: skip
    assert close == []


def test_light_and_dark_have_the_same_hues():
    """What is red in one scheme is red in the other: texts and classes speak of the same picture."""
    light, dark = map(palette, SCHEMES)
    turned = {name: abs((hue(light[name]) - hue(dark[name]) + 180) % 360 - 180) for name in light
              if name.startswith(("phase-", "cost-"))}  # fmt: skip
    assert len(turned) == len(PHASES) + len(COST_COLOURS)
    assert max(turned.values()) < 20, turned
