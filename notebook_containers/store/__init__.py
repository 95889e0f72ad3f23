"""Bytes and trees on disk: blobs, layers, snapshots, images, records. Has never seen a process."""
