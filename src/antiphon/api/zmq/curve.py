"""CURVE on the instance's sockets: who may connect is looked up in the keys file at every new connection."""

from __future__ import annotations

from pathlib import Path

import structlog
import zmq
from zmq.auth.asyncio import AsyncioAuthenticator

from antiphon.local.keys import read_keys
from antiphon.observe.metrics import METRICS

DOMAIN = "antiphon"

log = structlog.get_logger(__name__)


class Curve:
    """Guards the sockets of one context. Close it after them: without it no connection is checked."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys_file: Path) -> None:
        """Raises `Invalid` or `Unavailable` for a keys file that cannot be used."""
        self._keys_file = keys_file
        self._keys = read_keys(keys_file)
        self._authenticator = AsyncioAuthenticator(context)
        self._authenticator.configure_curve_callback(DOMAIN, self)
        self._authenticator.start()

    def guard(self, socket: zmq.Socket[bytes]) -> None:
        """Before it is bound."""
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._keys.secret.encode())
        socket.setsockopt_string(zmq.ZAP_DOMAIN, DOMAIN)
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # without an authenticator every connection is refused

    def callback(self, domain: str, key: bytes) -> bool:
        """Whether this key may connect now (pyzmq's name). It raises nothing: that would end the authenticator."""
        try:
            self._keys = read_keys(self._keys_file)
        except Exception as error:
            METRICS.unexpected.labels("unreadable_keys").inc()
            log.warning("keys_not_read", error=str(error))  # those that were read last still hold
        is_allowed = self._keys.allows(key.decode("latin-1"))
        if not is_allowed:
            METRICS.unexpected.labels("refused_key").inc()
            log.warning("key_refused", key=key.decode("latin-1"))
        return is_allowed

    def close(self) -> None:
        self._authenticator.stop()
