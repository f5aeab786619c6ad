"""The Synadia Agent Protocol for NATS: callers on a NATS server find this instance's agents, and prompt them."""
