"""One way to limit and count processes, for cgroup v1, v2 and both at once."""
