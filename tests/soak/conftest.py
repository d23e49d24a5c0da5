"""What breaks off scripts starts them with the same stand-in for Concourse as the scripts' own tests."""

from tests.scripts.conftest import concourse, wire

__all__ = ["concourse", "wire"]
