"""The README's pipelines are played on the same stand-in for Concourse as the scripts."""

from tests.scripts.conftest import concourse

__all__ = ["concourse"]
