"""Everything about calling a model: adapters, providers, configurations, secrets and outbound checks."""
