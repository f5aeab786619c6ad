"""Addresses that users choose: resolved once, checked, and only the checked address is connected to."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trustme

from antiphon.errors import Invalid
from antiphon.models.connecting import ConnectFailed, Connector, Origin
from antiphon.models.outbound import AddressRefused, Outbound, Resolve, is_public, numeric_address
from antiphon.models.transport import Transport
from support.tcp_server import open_tcp_server

pytestmark = pytest.mark.anyio

INSIDE = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "100.100.100.200",
    "169.254.169.254",
    "168.63.129.16",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.1.2.3",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "100::1",
]
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]


@pytest.mark.parametrize("address", INSIDE)
def test_an_internal_address_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0x7f.1", "017700000001", "[::1]", "[::ffff:127.0.0.1]"],
)
def test_a_numeric_address_is_recognized_in_any_spelling(host: str) -> None:
    assert numeric_address(host) is not None
    with pytest.raises(Invalid, match="not a public address"):
        Outbound().check_url(f"https://{host}/v1")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "models.example.com",
        "//models.example.com",
        "ftp://models.example.com",
        "file:///etc/passwd",
        "https://",
        "https://:443",
        "https://models.example.com:0",
        "https://models.example.com:99999",
        "https://models.example.com:x",
        "https://[::1",
        "https://name@models.example.com",
        "https://models.example.com?key=1",
        "https://models.example.com#1",
        "https://models.example.com\\@127.0.0.1",
        "https://models.example.com/\r\nx",
        "https://mödels.example.com",
        "http://models.example.com",
        "https://models.example.com/" + "x" * 3_000,
    ],
)
def test_a_base_url_that_is_not_plain_https_is_refused(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        Outbound().check_url(url)
    assert refused.value.field == "base_url"


@pytest.mark.parametrize("text", ["", "http://x", "a/b", "x@y", "x:99999", "[::1"])
def test_only_a_host_can_be_allowed(text: str) -> None:
    with pytest.raises(Invalid, match="--allow-outbound"):
        Outbound.make([text])


async def test_a_host_with_one_internal_address_is_refused() -> None:
    async def resolve(host: str, port: int) -> tuple[str, ...]:
        return ("1.1.1.1", "10.0.0.1")

    with pytest.raises(AddressRefused):
        await Outbound().addresses("rebound.example.com", 443, resolve)
    assert await Outbound.make(["*"]).addresses("any", 1, resolve) == ("1.1.1.1", "10.0.0.1")


async def post(
    url: str, outbound: Outbound, *, resolve: Resolve | None = None, tls: ssl.SSLContext | None = None
) -> str:
    """The body of the response from an address, by a transport that checks the address."""
    transport = Transport(Connector(Origin.parse(url), outbound=outbound, resolve=resolve, tls_context=tls))
    try:
        deadline = asyncio.get_running_loop().time() + 10.0
        response = await transport.post("/", {}, b"", deadline=deadline)
        return (await response.read()).decode()
    finally:
        await transport.aclose()


async def test_a_name_with_an_internal_address_is_not_connected_to() -> None:
    async with http_server("127.0.0.1") as (port, seen):
        for host in ("localhost", "127.0.0.1", "2130706433", "[::ffff:127.0.0.1]"):
            with pytest.raises(ConnectFailed, match="no public place") as refused:
                await post(f"http://{host}:{port}", Outbound())
            assert refused.value.is_refused
        assert seen == []


async def test_a_name_is_resolved_once_and_connected_to_at_that_address() -> None:
    """A resolver that would return another address the second time has no effect."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> tuple[str, ...]:
        asked.append(host)
        return (f"127.0.0.{len(asked)}",)

    async with http_server("127.0.0.1") as (port, seen), http_server("127.0.0.2", port) as (_, others):
        outbound = Outbound.make(["models.example.com"])
        assert await post(f"http://models.example.com:{port}", outbound, resolve=resolve) == "127.0.0.1"
        assert asked == ["models.example.com"]
        assert (len(seen), others) == (1, [])
        assert f"host: models.example.com:{port}" in seen[0].lower()


async def test_a_host_with_several_addresses_is_reached_by_the_one_that_answers() -> None:
    async def resolve(host: str, port: int) -> tuple[str, ...]:
        return ("127.0.0.2", "127.0.0.1")

    async with http_server("127.0.0.1") as (port, _):
        outbound = Outbound.make(["models.example.com"])
        assert await post(f"http://models.example.com:{port}", outbound, resolve=resolve) == "127.0.0.1"


async def test_tls_verifies_the_host_and_not_its_address() -> None:
    authority = trustme.CA()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("models.example.com").configure_cert(server_side)
    client_side = ssl.create_default_context()
    authority.configure_trust(client_side)

    async def resolve(host: str, port: int) -> tuple[str, ...]:
        return ("127.0.0.1",)

    async with http_server("127.0.0.1", tls=server_side) as (port, seen):
        outbound = Outbound.make(["models.example.com", "other.example.com"])
        url = f"https://models.example.com:{port}"
        assert await post(url, outbound, resolve=resolve, tls=client_side) == "127.0.0.1"
        with pytest.raises(ConnectFailed, match="TLS failed"):
            await post(f"https://other.example.com:{port}", outbound, resolve=resolve, tls=client_side)
        assert len(seen) == 1


@pytest.mark.parametrize("host", ["x" * 64 + ".example", "a..b", "missing.invalid"])
async def test_an_unknown_host_is_not_connected_to(host: str) -> None:
    with pytest.raises(ConnectFailed, match="host name"):
        await post(f"http://{host}", Outbound.make(["*"]))


@asynccontextmanager
async def http_server(
    address: str, port: int = 0, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[int, list[str]]]:
    """A server that answers every request with its own address; yields its port and the received requests."""
    seen: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            seen.append((await reader.readuntil(b"\r\n\r\n")).decode())
            body = address.encode()
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
            await writer.drain()
        except OSError:
            pass  # TLS that failed, too

    async with open_tcp_server(answer, address=address, port=port, tls=tls) as bound:
        yield bound, seen


def test_the_operator_can_allow_hosts_that_are_not_public() -> None:
    outbound = Outbound.make(["models.internal:8000", "[::1]", "10.0.0.7"])
    for url in ("http://models.internal:8000/v1", "http://[::1]:99/v1", "https://10.0.0.7", "http://10.0.0.7:1/v1"):
        outbound.check_url(url)
    for url in ("http://models.internal:8001/v1", "http://models.internal/v1", "https://10.0.0.8"):
        with pytest.raises(Invalid, match="--allow-outbound"):
            outbound.check_url(url)
