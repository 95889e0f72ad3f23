"""Compose files: loader, model, project. A client of the engine."""
