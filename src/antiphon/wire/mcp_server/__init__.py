"""MCP (modelcontextprotocol.io) as a server of chats: JSON-RPC messages, tools and resources. Pure translations."""
