"""The blocking client, generated from `client.asynchronous` by scripts/blocking_client.py. Do not edit."""
