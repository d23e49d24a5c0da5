"""Kinds of policy rules, one module each."""
