"""The checksum of what a chat keeps beside its facts: the SHA-256 of a content, or of a receipt's parts in a row."""

from __future__ import annotations

import hashlib

from antiphon.ports import Receipt


def checksum_of(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


def checksum_of_receipt(receipt: Receipt) -> bytes:
    return checksum_of(receipt.body_hash + receipt.answer)
