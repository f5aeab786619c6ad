"""The Vercel AI SDK's UI message stream: `/api/ui/chat`, for `useChat` and `DefaultChatTransport`."""
