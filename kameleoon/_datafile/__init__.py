"""Configuration bytes to a checked, immutable model: the only room that knows the service's configuration JSON."""
