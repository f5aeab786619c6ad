"""OpenAI's APIs: `/v1/responses`, `/v1/conversations`, `/v1/chat/completions`, `/v1/models`."""
