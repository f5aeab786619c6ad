"""Reading: the one place that follows a chat and streams it to watchers."""
