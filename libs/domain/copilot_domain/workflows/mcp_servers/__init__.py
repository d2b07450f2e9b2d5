"""MCP servers that a tenant has registered, and what their tools are called in a definition."""
