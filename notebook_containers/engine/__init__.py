"""The public Python API: joins store, runtime and network."""
