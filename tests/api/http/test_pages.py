"""The files of the web UI: addresses by version, bundles, and compression."""

from __future__ import annotations

import gzip
import json
import re
import time

import brotli
import pytest
from starlette.datastructures import Headers
from starlette.responses import Response

from antiphon.api.http.page_bundle import bundles_of, parse_module
from antiphon.api.http.pages import STYLES, Pages
from antiphon.errors import NotFound

PAGES = Pages()
MAIN = f"/assets/{PAGES.version}/bundles/main.js"


def get(path: str, **headers: str) -> Response:
    return PAGES.get("GET", path, Headers({name.replace("_", "-"): value for name, value in headers.items()}))


def addresses() -> list[str]:
    return ["/" + name.decode() for name in re.findall(rb'(?:href|src)="([^"]+)"', bytes(get("/").body))]


def test_the_page_names_files_of_its_version_that_may_be_kept_for_good() -> None:
    assert get("/").headers["cache-control"] == "no-cache"
    assert MAIN in addresses()
    assert f"/assets/{PAGES.version}/{STYLES}" in addresses()
    for address in addresses():
        caching = get(address).headers["cache-control"]
        assert ("immutable" in caching) == address.startswith(f"/assets/{PAGES.version}/")
        assert address.startswith("/assets/") or address == "/manifest.webmanifest"


def test_a_file_of_another_version_is_the_current_one_and_is_not_kept() -> None:
    for address in ("/assets/main.js", "/assets/0123456789abcdef/main.js"):
        answer = get(address)
        assert answer.body == get(f"/assets/{PAGES.version}/main.js").body
        assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["/assets/", "/assets/x.js", "/assets/../x.py", "/assets/0123456789abcdef/", "/x"])
def test_other_addresses_do_not_exist(path: str) -> None:
    with pytest.raises(NotFound):
        get(path)


@pytest.mark.parametrize("address", [MAIN, f"/assets/{PAGES.version}/{STYLES}"])
def test_files_are_compressed_for_those_who_accept_it(address: str) -> None:
    plain, packed = get(address), get(address, accept_encoding="deflate, GZIP")
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body) / 2
    assert packed.headers["vary"] == "accept-encoding"
    assert packed.headers["etag"] != plain.headers["etag"]
    again = get(address, accept_encoding="gzip", if_none_match=packed.headers["etag"])
    assert (again.status_code, again.body) == (304, b"")


def test_brotli_is_sent_once_it_is_made() -> None:
    assert get(MAIN, accept_encoding="gzip, br").headers["content-encoding"] in ("gzip", "br")
    deadline = time.monotonic() + 30
    while (packed := get(MAIN, accept_encoding="gzip, deflate, br, zstd")).headers["content-encoding"] != "br":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert brotli.decompress(packed.body) == get(MAIN).body
    assert len(packed.body) < len(get(MAIN, accept_encoding="gzip").body)
    assert get(MAIN, accept_encoding="gzip, br;q=0").headers["content-encoding"] == "gzip"


@pytest.mark.parametrize("accepted", ["", "zstd", "gzip;q=0", "deflate, gzip; q=0.0, xbr"])
def test_files_are_not_compressed_for_those_who_refuse_it(accepted: str) -> None:
    assert "content-encoding" not in get(MAIN, accept_encoding=accepted).headers


def test_all_that_the_page_needs_at_its_start_is_small() -> None:
    sizes = {address: len(get(address, accept_encoding="gzip").body) for address in ("/", *addresses())}
    assert sum(sizes.values()) <= 130 * 1024, sizes
    assert len(sizes) <= 8, "few requests"


def test_the_service_worker_keeps_what_the_page_names() -> None:
    worker = bytes(get("/service_worker.js").body).decode()
    assert "__" not in worker
    assert f'"{PAGES.version}"' in worker
    kept = json.loads(re.search(r"FILES = (\[[^\]]*\])", worker)[1])  # type: ignore[index]
    assert kept[0] == "./"
    assert MAIN[1:] in kept
    for name in kept[1:]:
        assert get(f"/{name}").status_code == 200
    assert get("/service_worker.js").headers["cache-control"] == "no-cache"
    assert json.loads(get("/manifest.webmanifest").body)["icons"]


# --- bundles


def test_a_bundle_has_each_module_once_after_those_that_it_imports() -> None:
    found = {
        "main.js": b"import { a, b as c } from './a.js';\nimport './x.js';\nexport const all = [a, c];\n",
        "a.js": b"// a comment\nimport { d } from './lib/d.js';\nexport const a = d;\nexport function b() {}\n",
        "x.js": b"import d, * as e from './lib/d.js';\n",
        "lib/d.js": b"let d=1;export{d};export default d;",
    }
    with pytest.raises(ValueError, match=r"x\.js: .*is not read"):
        bundles_of(found, "main.js")
    found["x.js"] = b"import * as e from './lib/d.js';\n"
    ((name, bundle),) = bundles_of(found, "main.js").items()
    assert name == "bundles/main.js"
    assert re.findall(rb"^// (.*)$", bundle, re.MULTILINE) == [b"lib/d.js", b"a.js", b"x.js", b"main.js"]


def test_what_is_loaded_later_is_a_bundle_that_shares_its_modules() -> None:
    found = {
        "main.js": b"import { s } from './s.js';\nconst load = () => import('./later/page.js');\n",
        "s.js": b"export const s = 1;\n",
        "later/page.js": b"import { s } from '../s.js';\nimport { own } from './own.js';\nconst all = [s, own];",
        "later/own.js": b"export const own = 2;\nconst more = () => import('../main.js');\n",
    }
    bundles = bundles_of(found, "main.js")
    assert set(bundles) == {"bundles/main.js", "bundles/later-page.js"}
    later = bundles["bundles/later-page.js"].decode()
    assert later.startswith('import { $m0 } from "./main.js";\n')
    assert "const s = 1" not in later
    assert 'import("./later-page.js").then((bundle) => bundle.$m' in bundles["bundles/main.js"].decode()
    assert 'import("./main.js").then((bundle) => bundle.$m1)' in later


@pytest.mark.parametrize(
    "source", [b"export let a = 1;", b"export * from './b.js';", b"import './b.txt';", b"export const { a } = b;"]
)
def test_a_module_in_another_form_is_refused(source: bytes) -> None:
    with pytest.raises(ValueError, match=r"a\.js"):
        parse_module("a.js", source.decode())


def test_circular_imports_are_refused() -> None:
    found = {"main.js": b"import { a } from './a.js';\n", "a.js": b"import { b } from './main.js';\n"}
    with pytest.raises(ValueError, match=r"circular imports: main\.js > a\.js > main\.js"):
        bundles_of(found, "main.js")
