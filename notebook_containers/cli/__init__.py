"""The command line, nbc: translates, never decides."""
