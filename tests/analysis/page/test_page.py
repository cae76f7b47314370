"""The page in a real browser: quiet console, no network, true figures, light and dark, wide and narrow."""

from __future__ import annotations

import itertools
import re

import pytest

from analysis.factories import make_record, typical_lab
from analysis.views import without_marks
from common.analysis.page.charts import PHASE_COLOURS
from common.analysis.reading.step_profile import PHASES
from common.formats import FORMATS
from common.sentences import TEMPLATES


def test_one_file_without_network_or_errors(open_page, lab_page):
    page = open_page(lab_page)
    assert [url for url in page.requests if not url.startswith("data:")] == [page.url]
    assert page.messages == []


def test_the_tables_figures_are_the_records(open_page):
    records = typical_lab()
    page = open_page(records)
    shown = page.locator("table.whole tbody tr")
    assert shown.count() == 3
    for position, record in enumerate(records):
        row = shown.nth(position)
        speed, epoch = row.locator('[data-column="throughput"]'), row.locator('[data-column="epoch-time"]')
        assert float(speed.get_attribute("data-value")) == pytest.approx(record.throughput)
        assert without_marks(speed.locator(".value").text_content()) == FORMATS["samples/s"](record.throughput)
        mean = sum(record.epoch_seconds) / len(record.epochs)
        assert float(epoch.get_attribute("data-value")) == pytest.approx(mean)
        assert without_marks(epoch.locator(".value").text_content()) == FORMATS["s"](mean)
        assert "–" in speed.locator(".interval").text_content()


def test_every_column_leads_to_the_glossary(open_page, lab_page):
    page = open_page(lab_page)
    links = page.locator("table.whole thead a").evaluate_all("links => links.map(link => link.hash)")
    assert len(links) == 8
    assert all(page.locator(f"dt{link}").count() == 1 for link in links)
    broken = page.evaluate(
        "[...document.querySelectorAll('a[href^=\"#\"]')].filter(a => !document.getElementById(a.hash.slice(1))).length"
    )
    assert broken == 0


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_the_page_does_not_scroll_sideways(open_page, wide_page, width):
    page = open_page(wide_page, width)
    assert page.locator(".options .sheet tbody tr").count() == 2
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, scheme


def test_text_and_figures_read_in_light_and_dark(open_page, lab_page):
    """Contrast of at least 4.5 (WCAG AA) between the card and every text on it, figures' text included."""
    script = """() => {
        const light = c => { const p = c.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
            .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
            return 0.2126 * p[0] + 0.7152 * p[1] + 0.0722 * p[2]; };
        const card = light(getComputedStyle(document.querySelector('.group')).backgroundColor);
        const contrast = c => { const l = light(c); return (Math.max(l, card) + 0.05) / (Math.min(l, card) + 0.05); };
        const svg = [...document.querySelectorAll('figure svg text')].map(t => contrast(getComputedStyle(t).fill));
        const html = [...document.querySelectorAll('.group td, .group th, .group small, .group p, .group li')]
            .map(t => contrast(getComputedStyle(t).color));
        return {svg: Math.min(...svg), html: Math.min(...html), texts: svg.length};
    }"""
    backgrounds, page = set(), open_page(lab_page)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        seen = page.evaluate(script)
        assert seen["texts"] > 20
        assert seen["svg"] >= 4.5
        assert seen["html"] >= 4.5
        backgrounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(backgrounds) == 2


def test_figures_take_their_colours_from_the_style_sheet(open_page, lab_page):
    page = open_page(lab_page, scheme="dark")
    fills = page.evaluate(
        "[...new Set([...document.querySelectorAll('figure svg path')].map(path => getComputedStyle(path).fill))]"
    )
    assert "rgb(86, 176, 236)" in fills  # DDP's blue for dark pages
    assert "rgb(64, 112, 207)" in fills  # the backward pass


def test_every_phase_has_a_colour_in_light_and_dark():
    style = (TEMPLATES / "style.css").read_text()
    found = re.findall(r"--phase-([a-z-]+): (#[0-9a-f]{6});", style)
    assert found[: len(PHASES)] == [(name.replace(" ", "-"), colour) for name, colour in PHASE_COLOURS.items()]
    dark = dict(found[len(PHASES) :])
    assert list(dark) == [name.replace(" ", "-") for name in PHASES]
    assert len(set(dark.values())) == len(PHASES)


def test_the_reader_gets_outcome_table_reasons_and_advice_in_this_order(open_page, lab_page):
    page = open_page(lab_page)
    parts = ("h1", ".conditions", ".charts", ".next", "nav", "table.comparison", "table.whole", ".figures",
             "#group-1-checks", "#parts", "#glossary")  # fmt: skip
    tops = [
        page.evaluate(
            f"document.querySelector('{part}').compareDocumentPosition(document.querySelector('{after}')) & 4"
        )
        for part, after in itertools.pairwise(parts)
    ]
    assert all(tops)


def test_markup_in_names_never_runs(open_page):
    nasty = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    page = open_page([make_record(config={"model": nasty}, run_id=f"run {nasty}", command=nasty)])
    assert page.messages == []
    assert page.locator("script, img").count() == 0
    assert nasty in page.locator(".conditions").inner_text()


def test_a_failed_check_stands_beside_the_number_it_spoils(open_page):
    records = typical_lab()
    records[2].ranks[0].host_epoch_seconds[0] *= 1.1
    page = open_page(records)
    cell = page.locator('table.comparison:not(.whole) tbody tr:nth-child(3) [data-column="throughput"]')
    pill = cell.locator("summary")
    assert (pill.inner_text(), pill.locator(".failed").count()) == ("1 warning: clock", 1)
    pill.click()
    assert "clock" in cell.locator("li").inner_text()
    assert page.locator(".checks .outcome.failed").is_visible()


def test_speed_of_a_run_that_failed_parity_is_withheld(open_page):
    records = typical_lab()
    records[2].parity.outcome = "failed"
    page = open_page(records)
    row = page.locator("table.comparison:not(.whole) tbody tr.invalid")
    for column in ("throughput", "epoch-time", "speed-up", "scaling-efficiency"):
        assert row.locator(f'[data-column="{column}"] .value').inner_text() == "withheld"
        assert row.locator(f'[data-column="{column}"]').get_attribute("data-value") is None
