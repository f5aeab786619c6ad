"""Composes and runs an instance: `open_instance`, `serve`, standbys, replicas."""
