"""httpx2's transport with the checks of `outbound`: it connects to the address that was checked, to no other."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable

import httpcore2
import httpx2

from antiphon.outbound import AddressRefused, Outbound, Resolve


class CheckedTransport(httpx2.AsyncHTTPTransport):
    """For one client. The Host header and TLS's server name stay the URL's. No proxy: it would do the resolving."""

    def __init__(
        self,
        outbound: Outbound,
        *,
        resolve: Resolve | None = None,
        verify: ssl.SSLContext | bool = True,
        connections_max: int = 1_000,
    ) -> None:
        trusted = httpx2.create_ssl_context(verify=verify)  # SSL_CERT_FILE and _DIR are the operator's
        super().__init__(verify=trusted, trust_env=False)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=trusted,
            max_connections=connections_max,
            max_keepalive_connections=100,
            keepalive_expiry=5.0,
            network_backend=CheckedBackend(outbound, resolve),
        )


class CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Connects for the pool: resolves once, checks, and goes on with the address."""

    def __init__(self, outbound: Outbound, resolve: Resolve | None = None) -> None:
        self._outbound = outbound
        self._resolve = resolve
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._outbound.addresses(host, port, self._resolve)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout("the name was not resolved in time") from error
        except AddressRefused as error:
            raise httpcore2.ConnectError(str(error)) from error
        except OSError as error:
            raise httpcore2.ConnectError(f"{host} is not known") from error
        failure: Exception | None = None
        for address in addresses:
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout=timeout, local_address=local_address, socket_options=socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        assert failure is not None, "there is at least one address"
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        raise httpcore2.ConnectError("no socket of this machine is reached by an address")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
