"""Tools of MCP servers (Model Context Protocol): this instance is their client. The SDK is the extra `mcp`."""
