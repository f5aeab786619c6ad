"""A2A (Agent2Agent) 1.0: tasks, messages, artifacts and errors. Pure."""
