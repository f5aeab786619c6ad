"""The stored format of facts and states: JSON bodies without content. Golden histories pin this format for ever."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from antiphon.core.depth import DEPTH_MAX, flatten
from antiphon.core.facts import WITH_CONTENT, AnyFact, Fact, MessageAppended, MessageQueued, QueuedMessageEdited
from antiphon.core.model import Chat

_facts = msgspec.json.Decoder(AnyFact)
_chats = msgspec.json.Decoder(Chat)
_encoder = msgspec.json.Encoder()

_FACT_DEPTH_MAX = DEPTH_MAX + 3
"""Maximum depth of a fact's body: the arguments of an open call are in the call, in a list, in the fact."""


def encode_fact(fact: Fact) -> bytes:
    """The stored body of a fact. The store keeps its content separately."""
    if isinstance(fact, WITH_CONTENT) and fact.content:
        fact = replace(fact, content=b"")
    return _encoder.encode(fact)


def decode_fact(body: bytes) -> Fact:
    fact: Fact = _facts.decode(flatten(body, _FACT_DEPTH_MAX))
    return fact


def encode_chat(chat: Chat) -> bytes:
    return _encoder.encode(chat)


def decode_chat(body: bytes) -> Chat:
    return _chats.decode(body)


def content_seq(seq: int, fact: Fact) -> int:
    """The seq under which the content of fact `seq` is stored; 0: it has none."""
    if isinstance(fact, MessageAppended):
        return fact.content_seq or seq
    if isinstance(fact, MessageQueued | QueuedMessageEdited):
        return seq
    return 0
