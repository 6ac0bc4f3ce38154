"""Feeds alone: files to read, our feeds, the readers that people use today."""
