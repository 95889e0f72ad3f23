"""Dockerfile text to image: words, parser, instructions, plan, solver."""
