"""AG-UI 1.0: its events, and the messages of its requests. Pure."""
