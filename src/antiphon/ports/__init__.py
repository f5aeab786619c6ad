"""The interfaces of the server, as Protocols: to outside services, and between its own parts.

One module per noun. `store/`, `bus/`, `models/`, `cluster/` and `testing/` implement the outer interfaces, `chats/`,
`watch/` and `worker/` the inner ones. Adapters inherit these docstrings.
"""

from __future__ import annotations

from antiphon.ports.access import AccessStore as AccessStore
from antiphon.ports.access import Session as Session
from antiphon.ports.access import Token as Token
from antiphon.ports.bus import Bus as Bus
from antiphon.ports.bus import Handler as Handler
from antiphon.ports.chat_store import PAGE_BYTES_MAX as PAGE_BYTES_MAX
from antiphon.ports.chat_store import SEQ_MAX as SEQ_MAX
from antiphon.ports.chat_store import Append as Append
from antiphon.ports.chat_store import Appended as Appended
from antiphon.ports.chat_store import ChatStore as ChatStore
from antiphon.ports.chat_store import Drop as Drop
from antiphon.ports.chat_store import Ended as Ended
from antiphon.ports.chat_store import Grant as Grant
from antiphon.ports.chat_store import Listed as Listed
from antiphon.ports.chat_store import Mark as Mark
from antiphon.ports.chat_store import OutcomeUnknown as OutcomeUnknown
from antiphon.ports.chat_store import Receipt as Receipt
from antiphon.ports.chat_store import Version as Version
from antiphon.ports.chats import Chats as Chats
from antiphon.ports.chats import Done as Done
from antiphon.ports.chats import Request as Request
from antiphon.ports.clock import Clock as Clock
from antiphon.ports.clock import Ids as Ids
from antiphon.ports.cluster import InstanceRecord as InstanceRecord
from antiphon.ports.cluster import Link as Link
from antiphon.ports.cluster import Presence as Presence
from antiphon.ports.configuration import ConfigRow as ConfigRow
from antiphon.ports.configuration import ConfigurationStore as ConfigurationStore
from antiphon.ports.drafts import Drafts as Drafts
from antiphon.ports.files import FILE_PIECE_BYTES as FILE_PIECE_BYTES
from antiphon.ports.files import FileBytes as FileBytes
from antiphon.ports.files import FileQuota as FileQuota
from antiphon.ports.files import FileStore as FileStore
from antiphon.ports.files import StoredFile as StoredFile
from antiphon.ports.inbox import NOTIFICATIONS_KEPT as NOTIFICATIONS_KEPT
from antiphon.ports.inbox import InboxStore as InboxStore
from antiphon.ports.inbox import Notification as Notification
from antiphon.ports.leases import Due as Due
from antiphon.ports.leases import FlushedDelta as FlushedDelta
from antiphon.ports.leases import LeaseStore as LeaseStore
from antiphon.ports.models import AnswerEnded as AnswerEnded
from antiphon.ports.models import Message as Message
from antiphon.ports.models import Model as Model
from antiphon.ports.models import ModelEvent as ModelEvent
from antiphon.ports.models import ModelRequest as ModelRequest
from antiphon.ports.models import OutputFormat as OutputFormat
from antiphon.ports.models import ToolSpec as ToolSpec
from antiphon.ports.shares import Share as Share
from antiphon.ports.shares import ShareStore as ShareStore
from antiphon.ports.store import Store as Store
from antiphon.ports.usage import COUNT_MAX as COUNT_MAX
from antiphon.ports.usage import USAGE_DAYS_KEPT as USAGE_DAYS_KEPT
from antiphon.ports.usage import DayUsage as DayUsage
from antiphon.ports.usage import SendCount as SendCount
from antiphon.ports.watch import ChatWatcher as ChatWatcher
from antiphon.ports.watch import EventStream as EventStream
from antiphon.ports.watch import FrameBatch as FrameBatch
from antiphon.ports.watch import Watch as Watch
from antiphon.ports.work import Balance as Balance
from antiphon.ports.work import NoSlots as NoSlots
from antiphon.ports.work import TurnSlots as TurnSlots
from antiphon.ports.work import Work as Work
