"""The sessions of the web UI in memory."""

from __future__ import annotations

from msgspec.structs import replace

from antiphon.ports import Clock, Session, Token


class MemorySessions:
    """Sessions by their id, each with the hash of its secret."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sessions: dict[str, tuple[bytes, Session]] = {}

    def add(self, session_id: str, token: Token, secret_hash: bytes) -> None:
        now = self._clock.now_us()
        session = Session(session_id=session_id, token=token, created_at=now, used_at=now)
        self._sessions[session_id] = (secret_hash, session)

    def get(self, session_id: str) -> Session | None:
        return self._sessions[session_id][1] if session_id in self._sessions else None

    def find(self, secret_hash: bytes) -> Session | None:
        return next((session for stored, session in self._sessions.values() if stored == secret_hash), None)

    def of_token(self, token_id: str) -> tuple[str, ...]:
        """The sessions of a token that are not revoked, the longest unused first."""
        sessions = (session for _, session in self._sessions.values())
        found = [s for s in sessions if s.token.token_id == token_id and not s.revoked_at]
        return tuple(s.session_id for s in sorted(found, key=lambda s: (s.used_at, s.session_id)))

    def touch(self, session_id: str) -> None:
        if session_id in self._sessions:
            secret_hash, session = self._sessions[session_id]
            self._sessions[session_id] = (secret_hash, replace(session, used_at=self._clock.now_us()))

    def revoke(self, session_id: str) -> bool:
        secret_hash, session = self._sessions.get(session_id, (b"", None))
        if session is None or session.revoked_at:
            return False
        self._sessions[session_id] = (secret_hash, replace(session, revoked_at=self._clock.now_us()))
        return True

    def delete(self, used_before: int) -> None:
        self._sessions = {i: stored for i, stored in self._sessions.items() if stored[1].used_at >= used_before}
