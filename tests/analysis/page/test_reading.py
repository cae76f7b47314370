"""How the page reads: the answer on the first screen, a way in, on paper, on a phone, and without being seen."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe


@pytest.mark.parametrize(("width", "screens"), [(1200, 1), (390, 2)])
def test_the_answer_stands_on_the_first_screen(open_page, h100_page, width, screens):
    page = open_page(h100_page, width)
    answer = page.locator(".answer")
    assert answer.bounding_box()["y"] + answer.bounding_box()["height"] <= screens * (900 if width > 1000 else 844)
    for text in ("0.62", "1.96", "Why:", "82.7", "Strong scaling", "Next:", "MODEL=my_model.py:build", "To pass on:"):
        assert text in answer.inner_text(), text
    assert answer.locator("svg").count() == 2


def test_each_group_stands_once_and_the_contents_lead_to_all(open_page, h100_page):
    page = open_page(h100_page)
    assert page.locator("table.whole").count() == 2  # the third group's runs all stand in the second
    links = page.locator("nav a").evaluate_all("links => links.map(link => link.hash || link.pathname)")
    assert links.pop(-2).endswith("/checkpoints.html")
    assert links == [f"#{id}" for id in page.locator("main > section").evaluate_all("all => all.map(one => one.id)")]
    assert len(links) >= 5


def test_every_link_between_the_pages_leads_somewhere(lab_page):
    """Of the exercise's page to the report, and back."""
    report, exercise = lab_page.read_text(), lab_page.with_name("checkpoints.html").read_text()
    links = re.findall(r'href="report\.html(?:#([\w-]+))?"', exercise)
    assert len(links) > 3
    assert [anchor for anchor in links if anchor and f'id="{anchor}"' not in report] == []
    assert not re.search(r'href="#(?!main)', exercise)
    assert 'href="checkpoints.html"' in report


def test_a_page_of_three_methods_is_read_in_minutes(open_page, example_pages, tmp_path):
    """Unfolded: at most 900 words, 150 numbers and 6 pages of paper. In all: 3,500 words, figures' texts included."""
    report = tmp_path / "unfolded.html"
    report.write_text(example_pages("h100x2-lab")["en"])
    page = open_page(report)
    text = page.locator("body").inner_text()
    assert 300 < len(text.split()) <= 900
    assert len(re.findall(r"\d[\d.,]*", text)) <= 150
    assert 1 <= len(re.findall(rb"/Type */Page\b", page.pdf(format="A4"))) <= 6
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert 1500 < len(page.locator("body").inner_text().split()) <= 3500


ONCE_EACH = """() => {
    const known = new Set();
    document.querySelectorAll('details').forEach(part => part.open = true);
    document.querySelectorAll('tbody tr').forEach(row => {
        const parts = [row.closest('table'), row, ...row.querySelectorAll('*')];
        const look = parts.map(part => part.tagName + '.' + part.className).join();
        if (known.has(look)) row.remove();
        known.add(look);
    });
    return known.size;
}"""
"""Unfolds everything, and takes out of the tables what looks like a row before it: axe takes long for each cell."""


def test_axe_finds_nothing_against_accessibility_in_light_and_dark(open_page, h100_page, tmp_path):
    page = open_page(Path(shutil.copy(h100_page, tmp_path)))
    assert page.evaluate(ONCE_EACH) >= 30  # rows are left
    for scheme, asked in (("light", {}), ("dark", {"runOnly": ["cat.color"]})):
        page.emulate_media(color_scheme=scheme)
        # Of what passes, it lists one place a rule: to list them all takes longer than to look.
        found = Axe().run(page, options={"resultTypes": ["violations"], **asked}).response
        passed = {rule["id"] for rule in found["passes"]}
        assert len(passed) > 20 or asked  # it has looked
        assert "color-contrast" in passed
        assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found["violations"]] == [], scheme


BEYOND_AXE = """() => {
    const found = [], all = what => [...document.querySelectorAll(what)];
    const levels = all('h1, h2, h3, h4').map(h => +h.tagName[1]);
    levels.forEach((level, i) => { if (level > (levels[i - 1] ?? 0) + 1) found.push('heading skips to h' + level); });
    if (levels.filter(level => level === 1).length !== 1) found.push('not one h1');
    all('table').forEach(t => { if (!t.caption?.textContent.trim()) found.push('table without caption'); });
    all('th').forEach(th => { if (!['col', 'row'].includes(th.scope)) found.push('th without scope'); });
    all('svg').forEach(s => { if (s.getAttribute('role') !== 'img' || !/\\d/.test(s.ariaLabel ?? ''))
        found.push('svg without a text: ' + s.ariaLabel); });
    all('a').forEach(a => { if (!a.textContent.trim()) found.push('empty link ' + a.href); });
    const ids = all('[id]').map(one => one.id);
    ids.forEach((id, i) => { if (ids.indexOf(id) !== i) found.push('id twice: ' + id); });
    if (!document.documentElement.lang) found.push('no language');
    all('details').forEach(d => { if (d.firstElementChild?.tagName !== 'SUMMARY') found.push('no summary'); });
    return [...new Set(found)];
}"""


def test_a_screen_reader_finds_captions_scopes_and_what_figures_show(open_page, wide_page):
    page = open_page(wide_page)
    assert page.evaluate(BEYOND_AXE) == []


def test_the_keyboard_reaches_the_measurements_first(open_page, lab_page):
    page = open_page(lab_page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.hash") == "#main"


def test_text_in_figures_is_at_least_ten_pixels_high_on_a_phone(open_page, lab_page):
    page = open_page(lab_page, width=390)
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    sizes = page.evaluate("""[...document.querySelectorAll('figure svg')].flatMap(svg => {
        const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
        return [...svg.querySelectorAll('text')].map(text => scale * parseFloat(getComputedStyle(text).fontSize));
    })""")
    assert len(sizes) > 40
    assert min(sizes) >= 10


@pytest.mark.parametrize(("width", "height"), [(703, 1017), (725, 950)])  # A4 and letter within their margins
def test_on_paper_the_answer_is_on_page_1_and_what_is_unfolded_follows(open_page, h100_page, width, height):
    page = open_page(h100_page, width)
    page.locator("details").first.evaluate("part => part.open = true")
    page.emulate_media(media="print")
    box = page.locator(".answer").bounding_box()
    assert box["y"] + box["height"] <= height
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    seen = page.locator("details:not(details details, .warnings)").evaluate_all(
        "all => all.map(one => [one.open, one.checkVisibility()])"
    )
    assert len(seen) > 5
    assert all(is_open is is_visible for is_open, is_visible in seen)
    assert {is_open for is_open, _ in seen} == {True, False}
    assert page.locator(".comparison tbody tr").first.evaluate("row => getComputedStyle(row).display") == "table-row"
