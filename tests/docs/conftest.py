"""The pages' pipelines are played on the same stand-in for Concourse as the scripts, their commands as those of cli.py."""

from tests.cli.conftest import environment, run, terminal, wire
from tests.scripts.conftest import concourse

__all__ = ["concourse", "environment", "run", "terminal", "wire"]
