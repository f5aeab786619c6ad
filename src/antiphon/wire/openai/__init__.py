"""OpenAI's APIs (Responses, Conversations, Chat Completions, Models) as views of chats. Pure.

https://platform.openai.com/docs/api-reference
"""
