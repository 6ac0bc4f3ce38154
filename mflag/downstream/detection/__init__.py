"""Boxes around findings."""
