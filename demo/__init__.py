"""The README's pipeline, played on this machine."""
