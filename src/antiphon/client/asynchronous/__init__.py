"""The asynchronous client. The modules of `client.blocking` are generated from these."""
