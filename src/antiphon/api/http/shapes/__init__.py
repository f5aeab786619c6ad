"""The types of request bodies, queries and response bodies: for decoding, and for /openapi.json."""
