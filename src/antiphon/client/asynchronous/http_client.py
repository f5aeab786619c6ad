"""The HTTP client that `AsyncClient` uses, with its settings."""

from __future__ import annotations

import httpx2

from antiphon.client import transport


def make_http_client(url: str, token: str, *, timeout_s: float, verify: transport.Verify) -> httpx2.AsyncClient:
    """A client of an instance. Close it. Raises `Invalid` for an invalid address or token."""
    settings = transport.client_settings(url, token, timeout_s=timeout_s)
    connecting = transport.transport_settings(url, verify)
    if transport.is_loopback(url):
        return httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(**connecting), **settings)
    return httpx2.AsyncClient(**connecting, **settings)
