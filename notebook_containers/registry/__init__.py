"""The distribution API: images between a registry and the store."""
