"""The report and the review page, opened from disk in a headless Chromium and used as a person would."""

from __future__ import annotations

import csv
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import reid
from reid.clustering.pairs_file import read_pairs
from reid.data.records import Samples
from reid.feature_table import FeatureTable, read_features, write_features
from reid.report.details import make_details, write_details

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install '.[test]'")

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium without a window; its downloads lie in `browser.downloads`."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("chromium or chromedriver is not installed: apt-get install chromium chromium-driver")
    folder = tmp_path_factory.mktemp("downloads")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--window-size=1200,900",
    ):
        options.add_argument(f"--{flag}")
    options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    found.downloads = folder
    yield found
    found.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Report, comparison and review page of 30 pictures in 10 clusters."""
    root = tmp_path_factory.mktemp("pages")
    data = root / "data"
    data.mkdir()
    rng = np.random.default_rng(0)
    pid, camid = np.repeat(np.arange(10), 3), np.tile([0, 1, 1], 10)
    names = [f"{i}{EVIL}.png" for i in range(29)] + ["=29.png"]
    for name in names:
        with open(data / name, "wb") as file:
            Image.fromarray(rng.integers(0, 255, (32, 16, 3), dtype=np.uint8)).save(file, "PNG")
    x = rng.normal(size=(10, 8))[pid] + 0.3 * rng.normal(size=(30, 8))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    samples = Samples.from_paths([data / name for name in names], pid=pid, camid=camid)
    for run in ("a", "b"):
        (root / run).mkdir()
        lines = [f'{{"round": {r}, "loss": {3 - r}, "mAP": {0.5 + r / 10}, "reciprocity": 0.5}}' for r in (1, 2, 10)]
        (root / run / "metrics.jsonl").write_text("\n".join(lines))
        (root / run / "config.toml").write_text(f"height = 64\nwidth = 32\nname = '{run}{EVIL}'\n")
        with open(root / run / "labels.csv", "w", encoding="utf-8", newline="") as file:
            rows = [(data / n, c, -1, k) for n, c, k in zip(names, camid, pid, strict=True)]
            csv.writer(file).writerows([("path", "camid", "tracklet", "label"), *rows])
        write_details(root / run / "report" / "details.npz", make_details(x, samples, pid, n_jobs=1))
    write_features(root / "features.npz", FeatureTable(x, samples, np.full(30, "train"), data, {}))
    review = reid.ReviewConfig(
        root / "features.npz", labels=root / "a" / "labels.csv", output=root / "review.html", pairs=8, workers=1
    )
    return {
        "report": reid.write_report(reid.ReportConfig((root / "a",))),
        "comparison": reid.write_report(reid.ReportConfig((root / "a", root / "b"), output=root / "both.html")),
        "review": reid.review(review),
    }


def _open(browser: Any, page: Path, colours: str = "light") -> None:
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": colours}]}
    )
    browser.get(page.as_uri())


def _assert_quiet(browser: Any) -> None:
    """No error of a script, nothing refused by the policy, nothing asked of a network."""
    assert browser.get_log("browser") == []
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map((e) => e.name)")
    assert [name for name in loaded if not name.startswith("data:")] == []


def _wait(what: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 20
    while not what() and time.monotonic() < deadline:
        time.sleep(0.05)
    return what()


def _back(browser: Any) -> str:
    return browser.execute_script("return getComputedStyle(document.body).backgroundColor")


@pytest.mark.parametrize("name", ["report", "comparison", "review"])
def test_colours_follow_the_system_and_the_switch(browser: Any, pages: dict[str, Path], name: str) -> None:
    _open(browser, pages[name], "light")
    browser.execute_script("localStorage.removeItem('reid-theme')")
    _open(browser, pages[name], "light")
    light = _back(browser)
    _open(browser, pages[name], "dark")
    dark = _back(browser)
    assert light != dark
    button = browser.find_element("css selector", "#switch button")
    assert button.text == "Light colours"
    button.click()
    assert _back(browser) == light
    _open(browser, pages[name], "dark")
    assert _back(browser) == light, "the choice is kept"
    browser.find_element("css selector", "#switch button").click()
    assert _back(browser) == dark
    browser.execute_script("localStorage.removeItem('reid-theme')")
    _assert_quiet(browser)


def test_report_by_keyboard(browser: Any, pages: dict[str, Path]) -> None:
    from selenium.webdriver.common.keys import Keys

    _open(browser, pages["report"])
    browser.find_element("tag name", "body").send_keys(Keys.TAB)
    skip = browser.switch_to.active_element
    assert skip.text == "Skip to the content"
    assert skip.rect["x"] >= 0, "visible once it has the focus"
    skip.send_keys(Keys.ENTER)
    assert browser.current_url.endswith("#content")
    links = browser.find_elements("css selector", "nav a")
    assert len(links) >= 10
    for link in links:
        link.send_keys(Keys.ENTER)
        key = link.get_attribute("href").partition("#")[2]
        section = browser.find_element("id", key)
        assert browser.current_url.endswith("#" + key)
        assert section.text.startswith(link.text)
        bottom = browser.execute_script("return document.querySelector('.bar-top').getBoundingClientRect().bottom")
        top = browser.execute_script("return arguments[0].getBoundingClientRect().top", section)
        assert top >= bottom - 2 or key in ("run", "words", "settings"), "the bar does not cover the heading"
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert browser.execute_script(outline) != "none", "the focus is visible"
    widths = "return [...document.images].map((i) => i.naturalWidth)"
    shown = browser.execute_script(widths)
    assert len(shown) > 30
    assert all(w > 0 for w in shown)
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    _assert_quiet(browser)


def test_tables_are_sorted_as_numbers(browser: Any, pages: dict[str, Path]) -> None:
    _open(browser, pages["report"])
    table = "document.querySelector('#rounds table')"

    def rounds() -> list[str]:
        return browser.execute_script(f"return [...{table}.tBodies[0].rows].map((r) => r.cells[0].textContent)")

    head = browser.find_element("css selector", "#rounds thead th:first-child button")
    head.send_keys("\n")
    assert rounds() == ["1", "2", "10"]
    head.send_keys("\n")
    assert rounds() == ["10", "2", "1"]
    assert head.find_element("xpath", "..").get_attribute("aria-sort") == "descending"
    browser.find_element("css selector", "#rounds thead th:nth-child(2) button").click()
    assert rounds() == ["10", "2", "1"], "losses -7, 1, 2"
    _assert_quiet(browser)


def test_comparison(browser: Any, pages: dict[str, Path]) -> None:
    _open(browser, pages["comparison"])
    assert EVIL in browser.find_element("id", "differences").text
    assert len(browser.find_elements("css selector", "#curves svg")) >= 2
    _assert_quiet(browser)


def test_without_scripts_all_is_there(browser: Any, pages: dict[str, Path]) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        _open(browser, pages["review"])
        assert all(task.is_displayed() for task in browser.find_elements("css selector", ".task"))
        assert "Marking takes JavaScript" in browser.find_element("tag name", "header").text
        _open(browser, pages["report"])
        assert browser.find_element("id", "words").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_pairs_are_marked_kept_and_downloaded(browser: Any, pages: dict[str, Path]) -> None:
    from selenium.webdriver.common.keys import Keys

    _open(browser, pages["review"])
    browser.execute_script("localStorage.clear()")
    _open(browser, pages["review"])
    body = browser.find_element("tag name", "body")
    status = browser.find_element("id", "status")

    def now() -> str:
        shown = [t for t in browser.find_elements("css selector", ".task") if t.is_displayed()]
        assert len(shown) == 1
        return shown[0].find_element("tag name", "h2").text

    assert now() == "Pair 1"
    assert not browser.find_element("id", "download").is_enabled()
    body.send_keys("s")
    body.send_keys("d")
    assert now() == "Pair 3"
    body.send_keys("u")
    body.send_keys(Keys.ARROW_LEFT)
    assert now() == "Pair 3"
    assert browser.find_element("id", "unsure").get_attribute("aria-pressed") == "true"
    body.send_keys(Keys.ARROW_RIGHT)
    browser.find_element("id", "different").click()
    browser.find_element("id", "back").click()
    browser.find_element("id", "back").click()
    assert now() == "Pair 3"
    assert "Marked 4: 1 same, 2 different, 1 unsure" in status.text

    browser.refresh()
    assert now() == "Pair 5", "marks are kept, work goes on at the first pair without one"
    assert "Marked 4: 1 same, 2 different, 1 unsure" in browser.find_element("id", "status").text
    browser.find_element("id", "download").click()
    file = browser.downloads / "review.csv"
    assert _wait(file.exists)
    rows = list(csv.reader(file.read_text(encoding="utf-8").splitlines(), strict=True))
    assert rows[0] == ["path_a", "path_b", "relation"]
    assert [row[2] for row in rows[1:]] == ["same", "different", "different"]
    table = read_features(pages["review"].parent / "features.npz")
    cannot, must = read_pairs(file, table.samples)
    assert (len(must), len(cannot)) == (1, 2)

    browser.find_element("id", "clear").click()
    browser.switch_to.alert.dismiss()
    assert "Marked 4" in browser.find_element("id", "status").text
    browser.find_element("id", "clear").click()
    browser.switch_to.alert.accept()
    assert "Pair 1 of 8. Marked 0" in browser.find_element("id", "status").text
    _assert_quiet(browser)


def test_all_marked(browser: Any, pages: dict[str, Path]) -> None:
    _open(browser, pages["review"])
    browser.execute_script("localStorage.clear()")
    _open(browser, pages["review"])
    body = browser.find_element("tag name", "body")
    for _ in range(8):
        body.send_keys("u")
    assert "All are marked" in browser.find_element("id", "status").text
    assert not browser.find_element("id", "download").is_enabled(), "unsure pairs are no constraints"
    _assert_quiet(browser)
