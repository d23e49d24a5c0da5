"""Stored form and digests of the domain's objects, and the way back."""
