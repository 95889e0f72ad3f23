"""The Jupyter server: authenticated handlers in the Engine API shapes. Translates, never decides."""
