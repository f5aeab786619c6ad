"""WebSockets: `/api/v1/ws` watches any number of chats and sends commands on one connection."""
