"""The checksums of stored contents and receipts: SHA-256 of a content, and of a receipt's body hash and answer."""

from __future__ import annotations

import hashlib

from antiphon.ports import Receipt


def checksum_of(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


def checksum_of_receipt(receipt: Receipt) -> bytes:
    return checksum_of(receipt.body_hash + receipt.answer)
