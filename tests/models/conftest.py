"""The stores of a single process, as in the tests of `chats`."""

from __future__ import annotations

from chats.conftest import clock as clock
from chats.conftest import store as store
