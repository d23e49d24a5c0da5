"""The policy file: its schema and how it is read."""
