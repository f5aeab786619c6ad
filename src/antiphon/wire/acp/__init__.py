"""The Agent Client Protocol, version 1: its requests, and a chat as session updates. Pure."""
