"""Benchmarks: every figure of the docs comes from here."""
