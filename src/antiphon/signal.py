"""Observers: a part announces what happened, others subscribe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, ParamSpec

import structlog

from antiphon.tracebacks import traceback_of

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

    @property
    def has_subscribers(self) -> bool:
        return bool(self._subscribers)

    def emit(self, *args: P.args, **kwargs: P.kwargs) -> None:
        for subscriber in self._subscribers:
            try:
                subscriber(*args, **kwargs)
            except Exception:
                log.error("signal_subscriber_failed", signal=self._name, exception=traceback_of())


class KeyedSignal(Generic[P]):
    """A signal for each key: `emit` calls the subscribers of one key only."""

    __slots__ = ("_name", "_signals")

    def __init__(self, name: str) -> None:
        self._name = name
        self._signals: dict[str, Signal[P]] = {}

    def subscribe(self, key: str, subscriber: Callable[P, object]) -> Callable[[], None]:
        """Call `subscriber` for this key from now on; returns a function that ends the subscription."""
        signal = self._signals.get(key)
        if signal is None:
            signal = self._signals[key] = Signal(self._name)
        unsubscribe_from_signal = signal.subscribe(subscriber)

        def unsubscribe() -> None:
            unsubscribe_from_signal()
            if not signal.has_subscribers and self._signals.get(key) is signal:
                del self._signals[key]

        return unsubscribe

    def emit(self, key: str, *args: P.args, **kwargs: P.kwargs) -> None:
        signal = self._signals.get(key)
        if signal is not None:
            signal.emit(*args, **kwargs)
