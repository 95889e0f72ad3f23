"""Links, addresses, names and ports of network namespaces."""
