"""Every verb once: its name, options, help and what it returns."""
