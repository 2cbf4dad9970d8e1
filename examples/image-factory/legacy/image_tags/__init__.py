"""Sorts image tags by version."""

__version__ = "0.9.2"
