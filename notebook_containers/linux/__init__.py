"""The kernel, as seen from Python through libc: has never heard of a container."""
