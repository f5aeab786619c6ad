"""The one observer class: a part announces what happened, others subscribe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, ParamSpec

import structlog

P = ParamSpec("P")

log = structlog.get_logger(__name__)


class Signal(Generic[P]):
    """`emit` calls every subscriber in the order of subscription. The failure of one is logged and stops no other,
    nor the part that emits."""

    __slots__ = ("_name", "_subscribers")

    def __init__(self, name: str) -> None:
        self._name = name
        self._subscribers: tuple[Callable[P, object], ...] = ()

    def subscribe(self, subscriber: Callable[P, object]) -> Callable[[], None]:
        """Call `subscriber` from now on; returns a function that ends the subscription."""
        self._subscribers = (*self._subscribers, subscriber)

        def unsubscribe() -> None:
            subscribers = list(self._subscribers)
            if subscriber in subscribers:
                subscribers.remove(subscriber)
            self._subscribers = tuple(subscribers)

        return unsubscribe

    def emit(self, *args: P.args, **kwargs: P.kwargs) -> None:
        for subscriber in self._subscribers:
            try:
                subscriber(*args, **kwargs)
            except Exception:
                log.exception("signal_subscriber_failed", signal=self._name)
