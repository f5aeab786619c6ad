"""Files of this machine: lock, instance file, tokens, keys, announcements."""
