"""Fuse the levels of a feature pyramid."""
