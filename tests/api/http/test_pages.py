"""The files of the web UI: addresses by version, compression, and what is preloaded."""

from __future__ import annotations

import gzip
import re

import pytest
from starlette.datastructures import Headers
from starlette.responses import Response

from antiphon.api.http.pages import Pages, modules_of
from antiphon.errors import NotFound

PAGES = Pages()


def get(path: str, **headers: str) -> Response:
    return PAGES.get("GET", path, Headers({name.replace("_", "-"): value for name, value in headers.items()}))


def addresses() -> list[str]:
    return ["/" + name.decode() for name in re.findall(rb'(?:href|src)="([^"]+)"', bytes(get("/").body))]


def test_the_page_names_files_of_its_version_that_may_be_kept_for_good() -> None:
    assert get("/").headers["cache-control"] == "no-cache"
    assert f"/assets/{PAGES.version}/main.js" in addresses()
    for address in addresses():
        assert address.startswith(f"/assets/{PAGES.version}/")
        assert "immutable" in get(address).headers["cache-control"]


def test_a_file_of_another_version_is_the_current_one_and_is_not_kept() -> None:
    for address in ("/assets/main.js", "/assets/0123456789abcdef/main.js"):
        answer = get(address)
        assert answer.body == get(f"/assets/{PAGES.version}/main.js").body
        assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["/assets/", "/assets/x.js", "/assets/../x.py", "/assets/0123456789abcdef/", "/x"])
def test_other_addresses_do_not_exist(path: str) -> None:
    with pytest.raises(NotFound):
        get(path)


@pytest.mark.parametrize(
    "address", ["/", f"/assets/{PAGES.version}/css/base.css", f"/assets/{PAGES.version}/view.js"]
)
def test_files_are_compressed_for_those_who_accept_it(address: str) -> None:
    plain, packed = get(address), get(address, accept_encoding="br, GZIP")
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body) / 2
    assert packed.headers["vary"] == "accept-encoding"
    assert packed.headers["etag"] != plain.headers["etag"]
    again = get(address, accept_encoding="gzip", if_none_match=packed.headers["etag"])
    assert (again.status_code, again.body) == (304, b"")


@pytest.mark.parametrize("accepted", ["", "br", "gzip;q=0", "deflate, gzip; q=0.0, br"])
def test_files_are_not_compressed_for_those_who_refuse_it(accepted: str) -> None:
    assert "content-encoding" not in get(addresses()[0], accept_encoding=accepted).headers


def test_all_that_the_page_needs_at_its_start_is_small() -> None:
    sizes = [len(get(address, accept_encoding="gzip").body) for address in ("/", *addresses())]
    assert sum(sizes) <= 130 * 1024


def test_modules_that_are_loaded_later_are_not_preloaded() -> None:
    found = {
        "main.js": b"import { a } from './a.js';\nimport './b/c.js';\n",
        "a.js": b"export * from './b/c.js';\nconst later = () => import('./later.js');\n",
        "b/c.js": b"import {\n  d,\n} from '../d.js';\nimport gone from './gone.js';\n",
        "d.js": b"// import './comment.js'\nexport const d = 'from ./text.js';\n",
        "later.js": b"",
        "comment.js": b"",
        "text.js": b"",
    }
    assert modules_of(found) == ["main.js", "a.js", "b/c.js", "d.js"]
    assert not any("highlight" in address for address in addresses())
    assert any("vendor/preact.js" in address for address in addresses())
