"""The chat models behind the `Model` port. `registry.make_model` makes one by its name."""
