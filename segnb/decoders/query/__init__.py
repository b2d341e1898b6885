"""Decoders in which classes or masks are vectors that ask the map where they are."""
