"""Reviewers' service: a page, an API and links, for people without AWS keys."""
