"""Tools for people who write policies."""
