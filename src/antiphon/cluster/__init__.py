"""Several instances on one store: membership, failure detection, relay of drafts."""
