"""Notifications: the log is the outbox, channels are where people are told."""
