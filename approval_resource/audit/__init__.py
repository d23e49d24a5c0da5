"""Verification of a pool's log and of receipts."""
