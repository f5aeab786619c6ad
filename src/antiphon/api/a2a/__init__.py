"""A2A (Agent2Agent) 1.0: the agent card, and `/a2a` with the JSON-RPC binding."""
