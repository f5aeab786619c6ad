"""The Synadia Agent Protocol for NATS, version 0.3: registration, prompts, chunks and errors. Pure.

Sections (§) are those of the protocol's `core-protocol.md`.
"""
