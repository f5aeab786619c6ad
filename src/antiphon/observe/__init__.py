"""Metrics, logs, crash points and the event loop watchdog."""
