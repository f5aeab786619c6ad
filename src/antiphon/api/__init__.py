"""One folder per protocol by which an instance is reached."""
