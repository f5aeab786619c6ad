"""`subscriptions/listen`: the changes that a client subscribes to, and the notifications for an owner's feed."""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.core.values import Value
from antiphon.wire import jsonrpc
from antiphon.wire.mcp_server.errors import bad_params
from antiphon.wire.mcp_server.revisions import META
from antiphon.wire.mcp_server.uris import ChatUri, parse_uri
from antiphon.wire.stream import Frame

URIS_MAX = 1_000
"""Maximum number of addresses in one subscription."""
SUBSCRIPTION_KEY = f"{META}subscriptionId"
LIST_CHANGES = frozenset({"created", "deleted", "title_change"})
"""Kinds of changes after which the list of chats is another."""

Json = dict[str, Any]


class Subscription(Value, gc=True):
    """What a client subscribed to: chats with the addresses by which it knows them, and the list of them."""

    request_id: msgspec.Raw
    uris: dict[str, tuple[str, ...]]
    is_of_list: bool

    @staticmethod
    def of(request_id: msgspec.Raw, params: Json) -> Subscription:
        """Raises `RpcRefused` for other parameters. Files never change, so their addresses are not accepted; nor
        are addresses that no chat has, and changes of what this server does not have."""
        wanted = params.get("notifications")
        given = wanted.get("resourceSubscriptions", []) if isinstance(wanted, dict) else None
        if not isinstance(given, list) or not all(isinstance(uri, str) for uri in given):
            raise bad_params("notifications: an object; resourceSubscriptions: a list of addresses")
        if len(given) > URIS_MAX:
            raise bad_params(f"resourceSubscriptions: at most {URIS_MAX:,} addresses")
        uris: dict[str, tuple[str, ...]] = {}
        for uri in dict.fromkeys(given):
            if isinstance(parsed := parse_uri(uri), ChatUri):
                uris[parsed.chat_id] = (*uris.get(parsed.chat_id, ()), uri)
        is_of_list = isinstance(wanted, dict) and wanted.get("resourcesListChanged") is True
        return Subscription(request_id=request_id, uris=uris, is_of_list=is_of_list)

    def acknowledged(self) -> bytes:
        """The first message."""
        accepted: Json = {}
        if self.uris:
            accepted["resourceSubscriptions"] = [uri for uris in self.uris.values() for uri in uris]
        if self.is_of_list:
            accepted["resourcesListChanged"] = True
        return self._notification("subscriptions/acknowledged", notifications=accepted)

    def ended(self) -> bytes:
        """The last message of a subscription that the server ends."""
        return jsonrpc.encode_result(self.request_id, {"resultType": "complete", "_meta": self._meta()})

    def notifications(self, frame: Frame) -> list[bytes]:
        """Those for an event of the feed. A feed that may have missed changes says so with a `resync`: then all may
        have changed."""
        if frame.type == "resync":
            return [*self._list_changed(), *(self._updated(uri) for uris in self.uris.values() for uri in uris)]
        if frame.type != "chat":
            return []
        event = msgspec.json.decode(frame.data)
        found = [self._updated(uri) for uri in self.uris.get(event["chat"]["id"], ())]
        return [*(self._list_changed() if event["kind"] in LIST_CHANGES else ()), *found]

    def _list_changed(self) -> list[bytes]:
        return [self._notification("resources/list_changed")] if self.is_of_list else []

    def _updated(self, uri: str) -> bytes:
        return self._notification("resources/updated", uri=uri)

    def _notification(self, name: str, **params: Any) -> bytes:
        return jsonrpc.encode_request(f"notifications/{name}", {"_meta": self._meta(), **params}, None)

    def _meta(self) -> Json:
        return {SUBSCRIPTION_KEY: self.request_id}
