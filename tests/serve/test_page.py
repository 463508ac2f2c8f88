"""The page as it is sent: its files, headers and sizes, without a browser."""

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.serve.serving import client_of
from xrt.serve.routes.page import CONTENT_SECURITY_POLICY, page_assets

MOST_BYTES = 100 * 1024
PAGE_FOLDER = Path(__file__).parents[2] / "xrt" / "serve" / "page"
SCRIPTS = sorted(name for name in page_assets() if name.endswith(".js"))


def text_of(name: str) -> str:
    return page_assets()[name].content.decode("utf-8")


def test_the_page_and_all_that_it_names_are_sent(client: TestClient):
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    names = re.findall(r'(?:src|href)="(assets/[^"]+)"', page.text)
    assert {"assets/page.js", "assets/page.css", "assets/icon.svg"} <= set(names)
    for name in SCRIPTS:
        imports = re.findall(r'from "\./([^"]+)"', text_of(name))
        names += [f"assets/{each}" for each in imports]
    for name in set(names):
        answer = client.get(f"/{name}")
        assert answer.status_code == 200, name
        kind = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
        assert answer.headers["content-type"].startswith(kind[name.rpartition(".")[2]])
    assert {name.removeprefix("assets/") for name in names} | {"index.html"} == set(page_assets())


def test_every_file_of_the_folder_belongs_to_the_page():
    assert {path.name for path in PAGE_FOLDER.iterdir()} == set(page_assets())


def test_it_is_small():
    assert sum(len(asset.content) for asset in page_assets().values()) <= MOST_BYTES


def test_scripts_and_styles_are_files_of_the_page(client: TestClient):
    for path in ("/", "/assets/page.js", "/assets/icon.svg"):
        policies = client.get(path).headers.get_list("content-security-policy")
        assert policies == [CONTENT_SECURITY_POLICY]
    assert CONTENT_SECURITY_POLICY.startswith("default-src 'self';")
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    html = client.get("/").text
    assert re.findall(r"<script(?![^>]*\bsrc=)", html) == []
    assert re.findall(r"<style|\sstyle=|\son[a-z]+=|javascript:", html) == []


def test_nothing_is_fetched_from_elsewhere():
    for name in page_assets():
        addresses = re.findall(r"(?:https?:)?//[a-z0-9][^\s\"')]*\.[^\s\"')]*", text_of(name))
        code = [each for each in addresses if each.startswith(("http", "//"))]
        assert [each for each in code if "www.w3.org/2000/svg" not in each] == [], name
        assert "@import" not in text_of(name)
        assert "url(" not in text_of(name)


def test_data_become_text_and_never_markup():
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function"
    forbidden += r"|DOMParser|createContextualFragment|setHTML|srcdoc"
    for name in SCRIPTS:
        assert re.findall(forbidden, text_of(name)) == [], name


def test_a_browser_that_has_a_file_is_told_so(client: TestClient):
    first = client.get("/assets/page.js")
    assert first.headers["cache-control"] == "no-cache"
    again = client.get("/assets/page.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = client.get("/assets/page.js", headers={"If-None-Match": '"other"'})
    assert other.status_code == 200


@pytest.mark.parametrize(
    "name", ["nothing.js", "index.html", "..%2f__init__.py", "%00", "page.js%2f", "." * 300]
)
def test_no_other_file_is_sent(client: TestClient, name: str):
    answer = client.get(f"/assets/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_page_needs_no_key_and_holds_no_data(model_folder: Path):
    with client_of(model_folder, name="secret-model", key="k" * 20) as client:
        page = client.get("/")
        assert page.status_code == 200
        assert client.get("/assets/page.js").status_code == 200
        assert "secret-model" not in page.text
        for path in ("/v1/models", "/v1/review", "/v1/models/secret-model/labels?q=a"):
            assert client.get(path).status_code == 401
