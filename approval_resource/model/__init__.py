"""Nouns: frozen dataclasses without I/O that raise nothing."""
