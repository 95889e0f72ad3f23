"""The rows: one file per claim, each with ``rows(bench)``."""
