"""A standby's door: it hands requests on to the primary of its data directory, until it is that itself."""
