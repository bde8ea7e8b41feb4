"""Pages in a real browser, where there is Chromium with its driver; see `.ci/run`."""

import base64
import json
import shutil

import numpy as np
import pytest
from matplotlib.figure import Figure

from probmix.reports import Cell, Code, Page, Picture, Points, Section, Settings, Table, Text

selenium = pytest.importorskip("selenium.webdriver")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="there is no Chromium, or no driver of it")
LONG = "A title of many words and of one_that_has_no_place_to_be_broken_and_is_far_longer_than_a_line_of_a_telephone"
WIDTHS = (1300, 400)


def drawn(inches):
    figure = Figure(figsize=(inches, 3.0), layout="constrained")
    figure.subplots().plot(np.arange(5))
    return Picture.of(figure, f"A line in {inches} inches.")


def page():
    names = [f"a column of number {place}" for place in range(14)]
    wide = Table(names, [[f"{10 * row + place} ± 0.1" for place in range(14)] for row in range(3)])
    order = [["b10", "1,000 ± 3"], ["B9", 20.0], [Cell("a", "strong"), None], ["c", "< 0.001"]]
    parts = [
        Text(LONG), Points(["one " * 80, LONG]), Code("probmix fit " + "very-long-name" * 20),
        Settings({"a name": LONG}), Table(["name", "score"], order, "A caption."), wide,
    ]  # fmt: skip
    return Page(LONG, [Section(LONG, parts), Section("Pictures", [drawn(4.8), drawn(4.8), drawn(13.0)])])


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    options = selenium.ChromeOptions()
    options.binary_location = BROWSER
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={folder}",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = selenium.Chrome(options=options, service=selenium.ChromeService(executable_path=DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(page().html(), encoding="utf-8")
    return path.as_uri()


def show(browser, file, width=1300, **media):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": [], **media})
    browser.get(file)


def column(browser, place):
    script = (
        "return [...document.querySelectorAll('table')[0].tBodies[0].rows].map(r => r.cells[arguments[0]].textContent)"
    )
    return browser.execute_script(script, place)


def test_a_page_raises_no_errors_and_asks_for_nothing(browser, file):
    browser.get_log("performance")
    show(browser, file)
    assert browser.title == LONG
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [one["params"]["request"]["url"] for one in events if one["method"] == "Network.requestWillBeSent"]
    assert asked[0] == file
    assert all(url.startswith("data:image/png;base64,") for url in asked[1:])


def test_tables_sort_on_a_press_and_give_back_their_order(browser, file):
    show(browser, file)
    name, score = browser.find_elements("css selector", "table:first-of-type th button")[:2]
    first = column(browser, 0)
    score.click()
    assert column(browser, 1) == ["< 0.001", "20", "1,000 ± 3", ""]
    score.click()
    # what is missing stays last
    assert column(browser, 1) == ["1,000 ± 3", "20", "< 0.001", ""]
    heads = browser.find_elements("css selector", "table:first-of-type th")[:2]
    assert [head.get_attribute("aria-sort") for head in heads] == ["none", "descending"]
    name.click()
    # text by its numbers, and whatever its case
    assert column(browser, 0) == ["a", "B9", "b10", "c"]
    assert [head.get_attribute("aria-sort") for head in heads] == ["ascending", "none"]
    name.click()
    name.click()
    assert column(browser, 0) == first


def test_tables_sort_by_the_keyboard(browser, file):
    show(browser, file)
    button = browser.find_elements("css selector", "table:first-of-type th button")[1]
    browser.execute_script("arguments[0].focus()", button)
    browser.switch_to.active_element.send_keys("\n")
    assert column(browser, 1)[0] == "< 0.001"
    outline = browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_never_scrolls_sideways(browser, file, width):
    show(browser, file, width)
    extent = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    needed, there = browser.execute_script(extent)
    assert needed <= there
    # but the box of a wide table does
    boxes = browser.execute_script(
        "return [...document.querySelectorAll('.wide')].map(b => b.scrollWidth - b.clientWidth)"
    )
    assert max(boxes[:2]) > 0


@pytest.mark.parametrize("width", WIDTHS)
def test_pictures_are_loaded_and_can_be_read(browser, file, width):
    show(browser, file, width)
    pictures = browser.execute_script(
        "return [...document.images].map(i => [i.complete, i.naturalWidth, i.getBoundingClientRect().width])"
    )
    expected = [part for section in page().sections for part in section.parts if isinstance(part, Picture)]
    assert len(pictures) == len(expected)
    for (complete, pixels, shown), picture in zip(pictures, expected, strict=True):
        assert complete
        # sharp, letters of a readable size, and no wider than there is room
        assert pixels >= shown >= min(picture.least_width, picture.width) - 1
        assert shown <= max(width, picture.least_width)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(browser, file, scheme):
    show(browser, file, features=[{"name": "prefers-color-scheme", "value": scheme}])
    colors = browser.execute_script(
        "const body = getComputedStyle(document.body), note = getComputedStyle(document.querySelector('.note'));"
        "return [body.backgroundColor, body.color, note.color]"
    )
    paper, ink, soft = (luminance(color) for color in colors)
    assert (paper > 0.5) == (scheme == "light")
    for other in (ink, soft):
        # the contrast that WCAG asks for
        assert (max(paper, other) + 0.05) / (min(paper, other) + 0.05) >= 4.5


def luminance(color):
    shares = np.array([float(part) for part in color.removeprefix("rgb(").removesuffix(")").split(",")]) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_nothing_is_cut_off_in_print(browser, file):
    # the width of a sheet of A4 less its margins, at 96 pixels an inch
    show(browser, file, 680, media="print")
    needed, there = browser.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert needed <= there
    right = browser.execute_script(
        "return Math.max(...[...document.querySelectorAll('td, img, p, li, dd, pre')]"
        ".map(e => e.getBoundingClientRect().right))"
    )
    assert right <= 680
    assert browser.execute_script("return getComputedStyle(document.querySelector('nav')).display") == "none"
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    document = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"])
    assert document.startswith(b"%PDF")
    assert document.count(b"/Type /Page\n") >= 2
