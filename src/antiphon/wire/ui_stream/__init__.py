"""The Vercel AI SDK's UI message stream, version 1: its chunks, and the messages of its requests. Pure."""
