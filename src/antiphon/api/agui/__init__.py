"""AG-UI over HTTP: runs as server-sent events."""
