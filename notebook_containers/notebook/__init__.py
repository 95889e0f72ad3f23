"""The notebook: magics, tables, diagrams, progress. Translates, never decides."""
