"""The page in a real browser: run with `-m slow`; XRT_SCREENSHOTS names a folder for pictures."""

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serve.browser import NARROW, WIDE, Watched, browser, served
from tests.serve.test_review_queue import suggestion
from tests.small_models import save_attribute_model
from xrt import XRLinear
from xrt.data.formats import read_corpus

pytestmark = pytest.mark.slow

NAMES = {
    "c1": "red", "c2": "green", "c3": "blue", "c4": "black",
    "t1": "shirt", "t2": "mug", "t3": "lamp", "t4": "Stühle & Bänke",
    "s1": "<script>window.hacked = 1</script>", "s2": "<img src=x onerror='window.hacked = 2'>",
}  # fmt: skip
WORDS = {"c1": "red", "c2": "green", "c3": "blue", "c4": "black", "t1": "shirt", "t2": "mug",
         "t3": "lamp", "t4": "chair", "s1": "small", "s2": "large"}  # fmt: skip
NUM_ROWS = 60


def write_corpus(folder: Path) -> Path:
    path = folder / "trn.jsonl"
    with open(path, "w") as file:
        for copy in range(4):
            for c in ("c1", "c2", "c3", "c4"):
                for t in ("t1", "t2", "t3", "t4"):
                    for s in ("s1", "s2"):
                        text = f"a {WORDS[s]} {WORDS[c]} {WORDS[t]} number {copy}"
                        file.write(json.dumps({"title": text, "labels": [c, t, s]}) + "\n")
    (folder / "labels.tsv").write_text("".join(f"{id}\t{name}\n" for id, name in NAMES.items()))
    return path


def write_queue(path: Path, num_rows: int) -> None:
    evil = "a small red shirt <img src=x onerror='window.hacked = 3'> of the corpus"
    with open(path, "w") as file:
        for i in range(num_rows):
            row = suggestion(i, text=evil, matched_terms=["red shirt"], name=NAMES["s1"])
            file.write(json.dumps(row) + "\n")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model of labels with markup for names, and a model of attributes."""
    folder = tmp_path_factory.mktemp("models")
    corpus = read_corpus(write_corpus(folder), label_names=str(folder / "labels.tsv"))
    labels = XRLinear(num_threads=1, branching=2, max_leaf_size=2).fit(corpus).save(folder / "m")
    return {"things": labels, "items": save_attribute_model(folder / "attributes")}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_queue(folder / "suggestions.jsonl", NUM_ROWS)
    return folder


@pytest.fixture(scope="module")
def address(models: dict[str, Path], files: Path) -> Iterator[str]:
    options = {"decisions": files / "decisions.jsonl", "queue": files / "suggestions.jsonl"}
    with served(models, **options) as address:
        yield address


@pytest.fixture
def watched(chromium: Any, address: str) -> Iterator[Watched]:
    """A fresh tab; at the end nothing may have gone wrong, whatever the test looked at."""
    watched = Watched(chromium, address)
    yield watched
    assert watched.page.evaluate("window.hacked") is None
    assert watched.faults == []
    watched.context.close()


def decisions_of(files: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (files / "decisions.jsonl").read_text().splitlines()]


def until(page: Any, is_so: Callable[[], Any]) -> None:
    """Wait for something; the page's policy forbids to wait for a script."""
    for _ in range(600):
        if is_so():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it did not come to that within 30 s")


def suggest(page: Any, text: str) -> Any:
    page.get_by_role("textbox", name="Text").fill(text)
    page.locator(".suggestions li").first.wait_for()
    return page.locator(".suggestions li")


def test_labels_come_as_one_types_and_markup_stays_text(watched: Watched):
    entries = suggest(watched.open(), "a small red shirt")
    names = [entry.locator(".name").inner_text() for entry in entries.all()]
    assert set(names[:3]) == {"red", "shirt", NAMES["s1"]}
    first = entries.first
    share = first.locator(".bar").evaluate("bar => bar.style.getPropertyValue('--share')")
    assert 0.5 < float(share) <= 1
    assert first.locator(".score").inner_text() == f"{float(share):.0%}".replace("%", " %")
    watched.page.get_by_role("textbox", name="Text").fill("")
    watched.page.get_by_text("Suggestions come as you type.").wait_for()
    assert entries.count() == 0


def test_a_late_answer_to_an_earlier_text_is_dropped(watched: Watched):
    page, held = watched.open(), []

    def hold(route: Any) -> None:
        if "mug" in (route.request.post_data or ""):
            held.append(route)
        else:
            route.continue_()

    page.route("**/predict", hold)
    page.get_by_role("textbox", name="Text").fill("a large blue mug")
    until(page, lambda: held)
    entries = suggest(page, "a small red shirt")
    assert held
    for route in held:
        route.fulfill(json={"model": "m", "version": "v", "results": [{"suggestions": [
            {"label": "t2", "name": "too late", "score": 1}]}]})  # fmt: skip
    page.wait_for_timeout(300)
    assert "too late" not in entries.all_inner_texts()
    assert "red" in entries.locator(".name").all_inner_texts()


def test_thresholds_and_sliders_change_what_is_asked(watched: Watched):
    page = watched.open()
    num_all = suggest(page, "a small red shirt").count()
    with page.expect_request(lambda r: "predict" in r.url and '"min_score":0.5' in r.post_data):
        page.get_by_label("Least score").fill("0.5")
    until(page, lambda: page.locator(".suggestions li").count() < num_all)
    with page.expect_request(lambda r: "predict" in r.url and '"tail":0.7' in r.post_data):
        page.get_by_label("Head to tail").fill("0.7")
    with page.expect_request(lambda r: "predict" in r.url and '"k":2' in r.post_data):
        page.get_by_label("Labels at most").fill("2")
        page.keyboard.press("Tab")


def test_labels_are_accepted_rejected_and_added(watched: Watched, files: Path):
    page = watched.open()
    page.get_by_label("Labels at most").fill("3")
    entries = suggest(page, "a small red shirt")
    assert entries.count() == 3
    num_before = len(decisions_of(files))
    page.get_by_role("button", name="Accept red").click()
    page.get_by_role("button", name="Reject shirt").click()
    field = page.get_by_role("combobox", name="Add a label that is missing")
    field.press_sequentially("stuhle")
    option = page.get_by_role("option", name="Stühle & Bänke")
    option.wait_for()
    field.press("ArrowDown")
    assert option.get_attribute("aria-selected") == "true"
    assert field.get_attribute("aria-activedescendant") == option.get_attribute("id")
    field.press("Enter")
    until(page, lambda: page.locator(".accepted").count() == 2)
    accept = page.get_by_role("button", name="Accept Stühle & Bänke")
    assert accept.get_attribute("aria-pressed") == "true"
    until(page, lambda: len(decisions_of(files)) == num_before + 3)
    rows = decisions_of(files)[num_before:]
    assert [(r["label"], r["accepted"], r["text"]) for r in rows] == [
        ("c1", True, "a small red shirt"),
        ("t1", False, "a small red shirt"),
        ("t4", True, "a small red shirt"),
    ]


def test_why_marks_terms_and_shows_path_and_neighbours(watched: Watched):
    page = watched.open()
    suggest(page, "a small red shirt")
    why = page.get_by_role("button", name="Why red")
    why.click()
    panel = page.locator(".why")
    panel.wait_for()
    assert why.get_attribute("aria-expanded") == "true"
    assert "red" in panel.locator("mark.for").all_inner_texts()
    for title in ("Terms of the text", "Where the score comes from", "Path through the tree"):
        assert panel.get_by_role("heading", name=title).count() >= 1
    why.click()
    assert panel.is_hidden()


def test_a_csv_becomes_a_table_that_can_be_downloaded(watched: Watched):
    page = watched.open()
    lines = [f'{i},"a large blue mug, ""no. {i}""",=1+{i}' for i in range(70)]
    watched.drop("texts.csv", "no,title,price\r\n" + "\r\n".join(lines) + "\r\n")
    page.get_by_text("70 of 70 rows").wait_for()
    assert page.get_by_label("title").is_checked()
    assert not page.get_by_label("price").is_checked()
    assert page.locator(".rows tbody tr").count() == 25
    page.get_by_role("button", name="Next page").click()
    assert page.locator(".rows tbody th").first.inner_text() == "26"
    rows = list(csv.DictReader(io.StringIO(watched.download("Download CSV"))))
    assert len(rows) == 70
    assert rows[3]["title"] == 'a large blue mug, "no. 3"'
    assert rows[3]["price"] == "'=1+3"  # no spreadsheet runs it
    assert {"c3", "t2"} <= set(rows[3]["labels"].split("|"))
    page.locator(".rows button.text").first.click()
    assert page.get_by_role("textbox", name="Text").input_value().startswith("a large blue mug")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", 'text\n"open', "a.csv: row 2 has a quote that is not closed"),
        ("a.csv", "text\n", "a.csv: the file needs a row of column names"),
        ("a.csv", "text\na,b,c\n", "a.csv: row 2 has 3 cells for 1 columns"),
    ],
)
def test_a_broken_csv_is_told_in_words(watched: Watched, name: str, text: str, words: str):
    page = watched.open()
    page.get_by_role("textbox", name="Text").wait_for()
    watched.drop(name, text)
    page.get_by_role("alert").get_by_text(words).wait_for()


def test_the_queue_by_keyboard(watched: Watched, files: Path):
    page = watched.open("#review")
    page.get_by_text(f"Suggestion 1 of {NUM_ROWS}").wait_for()
    num_before = len(decisions_of(files))
    assert page.locator("blockquote mark").first.inner_text() == "red shirt"
    page.keyboard.press("a")
    page.get_by_text(f"Suggestion 2 of {NUM_ROWS}").wait_for()
    page.keyboard.press("r")
    page.get_by_text(f"Suggestion 3 of {NUM_ROWS}").wait_for()
    page.keyboard.press("j")
    page.get_by_text(f"Suggestion 4 of {NUM_ROWS}").wait_for()
    page.keyboard.press("k")
    page.get_by_text(f"Suggestion 3 of {NUM_ROWS}").wait_for()
    page.keyboard.press("k")
    assert page.get_by_role("button", name="No, leave it out").get_attribute("aria-pressed") == (
        "true"
    )
    page.keyboard.press("/")
    page.keyboard.type("mug")
    page.get_by_role("option", name="mug").wait_for()
    page.keyboard.press("Enter")
    page.get_by_text("✓ mug").wait_for()
    until(page, lambda: len(decisions_of(files)) == num_before + 3)
    rows = decisions_of(files)[num_before:]
    assert [(row["id"], row["accepted"]) for row in rows] == [
        ("add:0:L0", True), ("add:1:L1", False), ("add:1:t2", True),
    ]  # fmt: skip
    page.get_by_text(f"2 of {NUM_ROWS} decided").wait_for()
    page.reload()
    page.get_by_text(f"Suggestion 3 of {NUM_ROWS}").wait_for()  # decided ones are passed over
    page.get_by_label("Show").select_option("all")
    page.get_by_text(f"Suggestion 1 of {NUM_ROWS}").wait_for()
    assert page.get_by_text("✓ accepted").count() == 1
    page.get_by_role("button", name="Later").click()
    page.get_by_text(f"Suggestion 51 of {NUM_ROWS}").wait_for()
    page.keyboard.press("k")
    page.get_by_text(f"Suggestion 50 of {NUM_ROWS}").wait_for()
    page.get_by_label("Keyboard shortcuts").uncheck()
    page.locator("h2").first.click()
    page.keyboard.press("j")
    page.wait_for_timeout(200)
    assert page.get_by_text(f"Suggestion 50 of {NUM_ROWS}").is_visible()


def test_fifty_thousand_suggestions_do_not_hang(
    chromium: Any, models: dict[str, Path], tmp_path: Path
):
    write_queue(tmp_path / "suggestions.jsonl", 50_000)
    options = {"decisions": tmp_path / "d.jsonl", "queue": tmp_path / "suggestions.jsonl"}
    with served({"things": models["things"]}, **options) as address:
        page = Watched(chromium, address).open("#review")
        page.get_by_text("Suggestion 1 of 50,000").wait_for()
        page.get_by_label("Go to suggestion").fill("49990")
        page.keyboard.press("Enter")
        page.get_by_text("Suggestion 49,990 of 50,000").wait_for()
        for _ in range(5):
            page.keyboard.press("Escape")
        page.locator(".card h2").click()
        for _ in range(10):
            page.keyboard.press("j")
        page.get_by_text("Suggestion 50,000 of 50,000").wait_for()
        assert page.evaluate("document.querySelectorAll('*').length") < 1500
        page.context.close()


def test_a_table_of_attributes_fills_in(watched: Watched):
    page = watched.open("#fill/items")
    field = page.get_by_label("title, row 1")
    field.fill("tavola stoneware bowl 24 cm")
    page.locator(".cell").first.wait_for()
    watched.drop("items.csv", "title,price,brand\n" + "stoneware bowl,12.50,Own\n" * 30)
    page.get_by_text("30 rows filled, ").wait_for()
    page.get_by_label("Doubtful below").fill("1")
    assert page.locator(".cell.doubtful").count() > 0
    assert page.locator(".cell.doubtful").first.get_by_text("doubtful").is_visible()
    rows = list(csv.DictReader(io.StringIO(watched.download("Download CSV"))))
    assert len(rows) == 30
    assert rows[0]["brand"] == "Own"  # what is given stays
    page.get_by_label("Doubtful below").fill("0")
    assert page.locator(".cell.doubtful").count() == 0
    rows = list(csv.DictReader(io.StringIO(watched.download("Download CSV"))))
    levels = [name for name in rows[0] if re.fullmatch(r"L\d", name)]
    assert levels
    assert rows[0][levels[0]]
    assert 0 < float(rows[0][f"{levels[0]}_score"]) <= 1


def test_the_key_is_asked_for_and_kept_in_the_tab(chromium: Any, models: dict[str, Path]):
    key = "right-key-" + "k" * 20
    with served({"things": models["things"]}, key=key) as address:
        watched = Watched(chromium, address)
        page = watched.open()
        page.get_by_role("textbox", name="Key").fill("wrong")
        page.keyboard.press("Enter")
        page.get_by_text("does not know this key").wait_for()
        page.get_by_role("textbox", name="Key").fill(key)
        page.keyboard.press("Enter")
        suggest(page, "a small red shirt")
        assert page.evaluate("sessionStorage.length") == 1
        assert page.evaluate("localStorage.length") == 0
        page.reload()
        suggest(page, "a large blue mug")
        page.get_by_role("button", name="Forget key").click()
        page.get_by_role("dialog", name="This server asks for a key").wait_for()
        assert watched.faults == []
        watched.context.close()


def test_a_busy_server_is_asked_again_and_faults_are_told_in_words(watched: Watched):
    page, times = watched.open(), []

    def busy_once(route: Any) -> None:
        times.append(1)
        if len(times) == 1:
            route.fulfill(status=429, headers={"Retry-After": "1"}, json={"detail": "full"})
        elif len(times) == 2:
            route.continue_()
        else:
            route.fulfill(status=504, json={"detail": "the deadline has passed"})

    page.route("**/predict", busy_once)
    suggest(page, "a small red shirt")
    assert len(times) == 2
    page.get_by_role("textbox", name="Text").fill("a large blue mug")
    page.get_by_role("alert").get_by_text("the deadline has passed").wait_for()
    page.unroute("**/predict")
    page.route("**/predict", lambda route: route.abort())
    page.get_by_role("textbox", name="Text").fill("a large blue lamp")
    page.get_by_role("alert").get_by_text("The server does not answer").wait_for()


def test_a_decision_that_is_not_kept_is_taken_back(watched: Watched):
    page = watched.open()
    suggest(page, "a small green lamp")
    page.route("**/decisions", lambda r: r.fulfill(status=507, json={"detail": "disk full"}))
    button = page.get_by_role("button", name="Accept green")
    button.click()
    page.get_by_role("alert").get_by_text("disk full").wait_for()
    assert button.get_attribute("aria-pressed") == "false"


VIEWS = ("#suggest/things", "#review/things", "#fill/items")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["wide", "narrow"])
def test_every_view_is_legible_and_named(
    chromium: Any, address: str, tmp_path: Path, scheme: str, size: str
):
    pictures = Path(os.environ.get("XRT_SCREENSHOTS", tmp_path))
    pictures.mkdir(parents=True, exist_ok=True)
    viewport = WIDE if size == "wide" else NARROW
    watched = Watched(
        chromium, address, viewport=viewport, color_scheme=scheme, reduced_motion="reduce"
    )
    for view in VIEWS:
        page = watched.open(view)
        if "suggest" in view:
            suggest(page, "a small red shirt, and a large blue mug")
            page.get_by_role("button", name="Accept red").click()
            page.get_by_role("button", name="Reject blue").click()
            page.get_by_role("button", name="Why red").click()
            page.locator(".why").wait_for()
        elif "review" in view:
            page.locator(".card h2").wait_for()
        else:
            watched.drop("a.csv", "title,price\n" + "stoneware bowl,12.50\nchair,30\n" * 4)
            page.get_by_text("8 rows filled, ").wait_for()
            page.get_by_label("Doubtful below").fill("0.97")
        page.wait_for_timeout(200)
        name = view.strip("#").partition("/")[0]
        page.screenshot(path=pictures / f"{name}-{size}-{scheme}.png", full_page=True)
        assert watched.overflow() <= 0, view
        assert watched.faint() == [], view
        assert watched.nameless() == [], view
        assert _axe_faults(page) == [], view
        moving = "getComputedStyle(document.querySelector('.bar i') ?? document.body)"
        assert page.evaluate(f"{moving}.transitionDuration") in ("0s", "1e-05s")
    assert watched.faults == []
    watched.context.close()


def _axe_faults(page: Any) -> list[str]:
    """What axe-core finds, where XRT_AXE names its axe.min.js."""
    if "XRT_AXE" not in os.environ:
        return []
    page.evaluate(Path(os.environ["XRT_AXE"]).read_text("utf-8"))
    faults = page.evaluate("async () => (await axe.run()).violations")
    return [f"{fault['id']}: {[node['html'] for node in fault['nodes'][:3]]}" for fault in faults]


def test_the_keyboard_reaches_everything_in_order(watched: Watched):
    page = watched.open()
    suggest(page, "a small red shirt")
    page.evaluate("document.activeElement.blur()")
    page.evaluate("window.scrollTo(0, 0); document.body.tabIndex = -1; document.body.focus()")
    names = []
    for _ in range(16):
        page.keyboard.press("Tab")
        names.append(
            page.evaluate(
                """() => {
                    const at = document.activeElement;
                    const style = getComputedStyle(at);
                    const shown = at.matches('[type=file]') || style.outlineStyle !== 'none';
                    return `${at.id || at.getAttribute('aria-label') || at.textContent}|${shown}`;
                }"""
            )
        )
    assert all(name.endswith("|true") for name in names), names
    order = [name.partition("|")[0] for name in names]
    expected = ["skip", "Suggest", "model", "text", "file", "k"]
    places = [next(i for i, name in enumerate(order) if name.startswith(e)) for e in expected]
    assert places == sorted(places), order
    assert any(name.startswith("Why ") for name in order), order
