"""Vocabulary: the OCI documents as typed values, and nothing else."""
