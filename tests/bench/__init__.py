"""Ratios against Docker, Podman, Buildah and bubblewrap in one run: ``python -m tests.bench``. No test asserts a time."""
