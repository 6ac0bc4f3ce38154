"""Typed configuration: one dataclass a program, one a group."""
