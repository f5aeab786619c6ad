"""The HTTP API of a standby: forwards requests to the primary of its data directory until it is the primary."""
