"""Every channel has a valid subject in NATS and a valid name in PostgreSQL that no other channel has."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import _validate_subject

from antiphon.bus.nats import SUBJECT_MAX, subject_of
from antiphon.bus.postgres import NAME_MAX, PAYLOAD_MAX, name_of, payload_of

CHANNELS = st.text() | st.text(alphabet="a.=*> $_2E0\r\n", max_size=6)


@given(CHANNELS)
def test_every_channel_has_a_valid_subject_and_name(channel: str) -> None:
    subject, name = subject_of(channel), name_of(channel)
    _validate_subject(subject, strict=True)
    assert not set(subject) & {"*", ">"}
    assert subject.isascii()
    assert subject.isprintable()
    assert 0 < len(subject) <= SUBJECT_MAX
    assert name.isascii()
    assert name.isprintable()
    assert 0 < len(name) <= NAME_MAX


@given(CHANNELS, CHANNELS)
def test_different_channels_have_different_subjects_and_names(one: str, other: str) -> None:
    assert (subject_of(one) == subject_of(other)) == (one == other)
    assert (name_of(one) == name_of(other)) == (one == other)


@given(st.binary() | st.text().map(str.encode) | st.sampled_from([b"~b:", b"~d:", b"~r:x", b"a\0"]))
def test_a_payload_is_a_valid_text_and_no_message_looks_like_a_marker(message: bytes) -> None:
    payload = payload_of(message)
    assert payload is not None
    assert "\0" not in payload
    assert len(payload.encode()) <= PAYLOAD_MAX
    assert not payload.startswith(("~d:", "~r:"))
    if not payload.startswith("~b:"):
        assert payload.encode() == message
