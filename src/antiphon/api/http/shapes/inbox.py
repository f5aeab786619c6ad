"""The bodies and queries of the routes of the inbox."""

from __future__ import annotations

from typing import Annotated

import msgspec

from antiphon.api.http.shapes.values import Count, Limit
from antiphon.core.values import Value
from antiphon.wire import codec, notify
from antiphon.wire.gotime import Time


class InboxQuery(Value):
    """`after` is the `next` of the previous page."""

    unread: bool = False
    limit: Limit = 50
    after: str = ""


class NotificationAnswer(notify.InboxNotification):
    """The reference's InboxNotification."""


class InboxAnswer(Value):
    notifications: list[notify.InboxNotification]
    unread_count: int
    next: str | None


class UnreadAnswer(Value):
    unread_count: int


class ReadChatBody(Value):
    """Without `seq`: the chat's last."""

    seq: Count | None = None


DIFF_TEXT_MAX = 2_048
DiffText = Annotated[str, msgspec.Meta(max_length=DIFF_TEXT_MAX)]


class DiffStatusBody(Value):
    """The reference's ChatDiffStatus of this chat. A missing field is unknown."""

    url: DiffText | None = None
    pull_request_state: DiffText | None = None
    pull_request_title: DiffText = ""
    pull_request_draft: bool = False
    changes_requested: bool = False
    additions: codec.Int32 = 0
    deletions: codec.Int32 = 0
    changed_files: codec.Int32 = 0
    author_login: DiffText | None = None
    author_avatar_url: DiffText | None = None
    base_branch: DiffText | None = None
    head_branch: DiffText | None = None
    pr_number: codec.Int32 | None = None
    commits: codec.Int32 | None = None
    approved: bool | None = None
    reviewer_count: codec.Int32 | None = None
    refreshed_at: Time | None = None
    stale_at: Time | None = None
