"""The report as people meet it: in a real browser, without a network."""

import base64
import io
import re
import shutil
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from factories_results import make_results
from thermosharp.results import stored_scenes
from thermosharp.results.build import build_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")

DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = make_results(tmp_path_factory.mktemp("results"))
    build_report(folder)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, folder):
    """A function that opens the report; no page may complain, or ask a network for anything."""
    contexts, complaints, requests = [], [], []

    def open_page(viewport=DESKTOP, **options) -> Page:
        context = browser.new_context(viewport=viewport, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto((folder / "report.html").as_uri())
        until(page, "document.documentElement.dataset.shown")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert len(requests) == len(contexts)
    assert all(url.startswith("file://") for url in requests)


def until(page: Page, condition: str) -> None:
    """Wait for a condition; the browser's own way to wait is forbidden to the page."""
    start = time.monotonic()
    while not page.evaluate(condition):
        assert time.monotonic() - start < 30, f"waited in vain for {condition}"
        page.wait_for_timeout(20)


def shown(page: Page, what: str) -> None:
    until(page, f"document.documentElement.dataset.shown === '{what}'")


def pixels(page: Page) -> np.ndarray:
    """What the map's canvas holds, (y, x, rgba)."""
    url = page.evaluate("document.querySelector('canvas').toDataURL('image/png')")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))


def middle(page: Page, x: float = 0.5, y: float = 0.5) -> tuple[float, float]:
    box = page.locator("canvas").bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def test_swipe_by_mouse_and_by_keys(opened):
    page = opened()
    before = pixels(page)
    x, y = middle(page)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 300, y, steps=4)
    page.mouse.up()
    after = pixels(page)
    width = before.shape[1]
    changed = (before != after).any(axis=(0, 2))
    assert changed[width // 2 - 290 : width // 2 - 20].mean() > 0.9, "now sharpened"
    assert not changed[: width // 2 - 310].any(), "as before, left of the handle"
    handle = page.get_by_role("slider")
    share = float(handle.get_attribute("aria-valuenow"))
    assert share == pytest.approx(50 - 100 * 300 / width, abs=2)
    handle.focus()
    page.keyboard.press("ArrowRight")
    assert float(handle.get_attribute("aria-valuenow")) == pytest.approx(share + 2, abs=1)
    page.keyboard.press("End")
    assert handle.get_attribute("aria-valuenow") == "100"


def test_values_under_the_cursor_are_those_of_the_files(opened, folder):
    """At several places, in all three units, with uncertainty and residual."""
    page = opened()
    scene = stored_scenes(folder)[0]
    page.get_by_role("button", name="2023-07-17 20:11").click()
    shown(page, "0-sharp")
    page.get_by_role("button", name="Show the whole map").click()
    sharp, sigma = scene.averaged("sharp", 1).values, scene.averaged("uncertainty", 1).values
    checked = 0
    for x, y in ((0.45, 0.3), (0.5, 0.5), (0.55, 0.7), (0.4, 0.62)):
        page.mouse.move(*middle(page, x, y))
        row, column = page.evaluate("[state.at.row, state.at.column]")
        text = page.locator("#read-sharp .others").text_content()
        numbers = [float(n) for n in re.findall(r"-?[\d.]+(?= )", text)]
        if not np.isfinite(sharp[row, column]):
            assert numbers == []
            continue
        kelvin = float(sharp[row, column])
        expected = (kelvin, kelvin - 273.15, kelvin * 1.8 - 459.67)
        np.testing.assert_allclose(numbers, expected, atol=0.11)
        stated = float(page.locator("#read-uncertainty").text_content()[1:-1])
        assert stated == pytest.approx(sigma[row, column], abs=0.03)
        assert re.fullmatch(r"[+\u2212]\d\.\d\d K", page.locator("#read-residual").text_content())
        assert page.locator("#read-place").text_content().startswith("33.9")
        checked += 1
    assert checked >= 2


def test_zoom_and_pan(opened):
    page = opened()
    zoom = "map.zoom"
    start = page.evaluate(zoom)
    page.mouse.move(*middle(page, 0.7, 0.4))
    under = page.evaluate("[state.at.row, state.at.column]")
    page.mouse.wheel(0, -600)
    until(page, f"{zoom} > {2 * start}")
    assert page.evaluate("[state.at.row, state.at.column]") == under, "what is pointed at stays"
    centre = page.evaluate("map.centre")
    x, y = middle(page, 0.7, 0.4)
    page.mouse.down()
    page.mouse.move(x + 80, y + 40, steps=3)
    page.mouse.up()
    moved = page.evaluate("map.centre")
    scale = page.evaluate(zoom)
    np.testing.assert_allclose(np.subtract(centre, moved), [80 / scale, 40 / scale], atol=0.5)
    page.get_by_role("button", name="Show the whole map").click()
    assert page.evaluate(zoom) <= start
    page.locator("canvas").focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(zoom) > 1
    said = page.locator("#said").text_content()
    assert "sharpened" in said and "°C" in said, "what the ring is on is said aloud"


def test_layers_scales_colours_and_units(opened):
    page = opened()
    page.get_by_role("button", name="2023-07-17 20:11").click()
    shown(page, "0-sharp")
    seen = [pixels(page)]
    for layer in ("uncertainty", "residual", "sharp"):
        page.locator(f"label:has(input[value={layer}])").click()
        shown(page, f"0-{layer}")
        assert page.locator(".handle").is_visible() == (layer == "sharp")
        seen.append(pixels(page))
    assert all((a != b).any() for a, b in pairwise(seen))
    assert (seen[0] == seen[-1]).all()
    page.get_by_label("Colours").select_option("cividis")
    until(page, "state.colours === 'cividis'")
    assert (pixels(page) != seen[0]).mean() > 0.3
    celsius = page.locator(".legend").text_content()
    page.get_by_label("Unit").select_option("K")
    kelvin = page.locator(".legend").text_content()
    assert "(°C)" in celsius and "(K)" in kelvin and "300" in kelvin


def test_scenes_are_chosen_and_sorted_by_keys(opened):
    page = opened()
    table = page.get_by_role("table")
    scenes = table.locator("tbody td:last-child")
    assert scenes.all_text_contents() == ["day", "night", "cloudy"]
    head = table.get_by_role("button", name="Expected error")
    head.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert head.locator("..").get_attribute("aria-sort") == "descending"
    assert scenes.all_text_contents() == ["night", "day", "cloudy"], "nothing known comes last"
    night = table.get_by_role("button", name="2023-07-26")
    night.focus()
    page.keyboard.press("Enter")
    shown(page, "1-sharp")
    assert page.locator("#title").text_content() == "26 July 2023, 06:37 UTC"
    assert page.locator("#facts").text_content().count("night") == 1
    assert page.locator("input[value=uncertainty]").is_disabled(), "this method states none"
    article = page.locator("article:visible")
    assert article.count() == 1
    assert "CLOUD_UNKNOWN" in article.text_content()
    page.get_by_role("button", name="Next scene").click()
    shown(page, "0-sharp")
    page.get_by_role("button", name="Previous scene").click()
    shown(page, "1-sharp")
    for chart in ("histogram", "scatter", "spectrum"):
        assert article.locator(f"svg.{chart} path").count() > 3, chart
    assert table.locator("tr", has_text="cloudy").get_by_role("button").count() == 0


def test_the_profile_shows_both_curves(opened):
    page = opened()
    page.mouse.move(*middle(page, 0.6, 0.35))
    before = page.locator("#profile path.line-sharpened").get_attribute("d")
    page.mouse.move(*middle(page, 0.6, 0.75))
    assert page.locator("#profile path.line-observed").get_attribute("d").count("V") > 10
    assert page.locator("#profile path.line-sharpened").get_attribute("d") != before


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility(opened, viewport, scheme):
    """Title, language, names, contrast, focus order: what axe can find."""
    from axe_playwright_python.sync_playwright import Axe

    page = opened(viewport, color_scheme=scheme)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.title().startswith("Land surface temperature")


def test_fits_a_phone_and_can_be_touched(opened):
    page = opened(PHONE, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    x, y = middle(page, 0.25, 0.3)
    page.touchscreen.tap(x, y)
    at = page.evaluate("state.at")
    assert at is not None
    for target in page.locator("button:visible, select:visible").all():
        assert target.bounding_box()["height"] >= 24


def test_prints(opened):
    page = opened()
    page.emulate_media(media="print")
    assert page.locator("canvas").is_visible()
    assert not page.locator(".zoom").is_visible()
    assert page.locator("article:visible").count() == 1
    assert len(page.pdf()) > 10_000
