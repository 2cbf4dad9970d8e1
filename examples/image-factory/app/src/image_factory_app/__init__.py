"""Answers questions about the images that a factory builds."""
