"""MCP at `/mcp` (streamable HTTP): other agents, editors and assistants use the chats of this server as tools."""
