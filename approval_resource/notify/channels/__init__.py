"""Channels: one module for each kind of place where people are told."""
