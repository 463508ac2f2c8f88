"""A server on a port of its own and a real browser that looks at its page.

Needs `pip install playwright` and a Chromium (`apt-get install chromium`); XRT_CHROMIUM names its
program where it is not /usr/bin/chromium.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from xrt.serve.app import make_app
from xrt.serve.metrics import Metrics
from xrt.serve.options import ServeOptions
from xrt.serve.state import Phase, ServerState
from xrt.serve.worker import make_routers

CHROMIUM = os.environ.get("XRT_CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
WIDE, NARROW = {"width": 1280, "height": 860}, {"width": 360, "height": 740}


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """A Chromium; without one the test fails and says what to install."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.fail("the tests of the page need a browser: pip install playwright")
    if not Path(CHROMIUM).is_file():
        pytest.fail(
            f"no browser at {CHROMIUM}: apt-get install chromium, or name one in XRT_CHROMIUM"
        )
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        try:
            yield chromium
        finally:
            chromium.close()


@contextlib.contextmanager
def served(folders: dict[str, Path], **options: Any) -> Iterator[str]:
    """The address of a server in a thread of this process."""
    state = ServerState(ServeOptions(folders, threads=1, **options), Metrics())
    state.thread.start()
    state.commit(state.prepare())
    state.phase = Phase.ready
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        make_app(state, make_routers(state)), lifespan="off", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([bound],), daemon=True)
    thread.start()
    try:
        until = time.monotonic() + 60
        while not server.started and time.monotonic() < until:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        state.thread.stop()
        state.thread.join(5)
        bound.close()


class Watched:
    """A page, and what went wrong on it: errors, refused content, requests to elsewhere."""

    def __init__(self, chromium: Any, address: str, **context: Any) -> None:
        self.address = address
        self.context = chromium.new_context(**{"viewport": WIDE, **context})
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.faults: list[str] = []
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("console", self._note)
        self.page.on("request", self._look_at)

    def _note(self, message: Any) -> None:
        # a refused request is the server's answer (401, 429), which the page tells in words
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.faults.append(f"console: {message.text}")

    def _look_at(self, request: Any) -> None:
        if not request.url.startswith((self.address, "blob:")):
            self.faults.append(f"request to {request.url}")

    def open(self, place: str = "") -> Any:
        """Go to a place of the page."""
        self.page.goto("about:blank")
        self.faults.clear()
        self.page.goto(f"{self.address}/{place}")
        return self.page

    def drop(self, name: str, text: str) -> None:
        """Drop a file on the page's field."""
        data = self.page.evaluate_handle(
            """([name, text]) => {
                const data = new DataTransfer();
                data.items.add(new File([text], name));
                return data;
            }""",
            [name, text],
        )
        self.page.dispatch_event(".drop", "drop", {"dataTransfer": data})

    def download(self, button: str) -> str:
        """The text that a button downloads."""
        with self.page.expect_download() as waiting:
            self.page.get_by_role("button", name=button).click()
        return Path(waiting.value.path()).read_text("utf-8")

    def nameless(self) -> list[str]:
        """Controls that a screen reader could not name, as the browser sees them."""
        session = self.context.new_cdp_session(self.page)
        nodes = session.send("Accessibility.getFullAXTree")["nodes"]
        roles = {
            "button", "link", "textbox", "combobox", "slider", "checkbox", "spinbutton", "option",
            "listbox", "progressbar", "navigation", "image", "dialog",
        }  # fmt: skip
        return [
            f"{node['role']['value']} {node.get('properties')}"
            for node in nodes
            if not node.get("ignored")
            and node["role"]["value"] in roles
            and not node.get("name", {}).get("value", "").strip()
        ]

    def faint(self) -> list[str]:
        """Texts whose contrast is below that of WCAG AA."""
        faint: list[str] = self.page.evaluate(CONTRAST)
        return faint

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        root = "document.documentElement"
        width: int = self.page.evaluate(f"{root}.scrollWidth - {root}.clientWidth")
        return width


CONTRAST = """() => {
  const context = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const parse = (color) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, under) => top.slice(0, 3).map((v, i) => v * top[3] + under[i] * (1 - top[3]));
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      layers.push(parse(getComputedStyle(at).backgroundColor));
    }
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
  };
  const faint = [];
  for (const element of document.querySelectorAll('body *')) {
    const text = [...element.childNodes].filter((n) => n.nodeType === 3 && n.data.trim());
    const box = element.getBoundingClientRect();
    const isField = element.matches('input:not([type=range]):not([type=checkbox]), textarea');
    if ((!text.length && !isField) || !box.width || !box.height) continue;
    if (element.closest('[hidden], :disabled, .visually-hidden, .skip, noscript')) continue;
    if (!element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const under = ground(element);
    const colors = [style.color];
    if (isField) colors.push(getComputedStyle(element, '::placeholder').color);
    for (const color of colors) {
      const [a, b] = [light(over(parse(color), under)), light(under)].sort((x, y) => y - x);
      const ratio = (a + 0.05) / (b + 0.05);
      const size = parseFloat(style.fontSize);
      const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
      if (ratio < (large ? 3 : 4.5)) {
        const what = element.textContent.slice(0, 30);
        faint.push(`${element.tagName} ${element.className} ${ratio.toFixed(2)} ${what}`);
      }
    }
  }
  return faint;
}"""
