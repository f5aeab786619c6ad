"""The instance protocol's edge: events over PUB, calls over ROUTER. It speaks for the admin alone."""
