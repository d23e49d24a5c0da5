"""Start of the command line: `approvals`, `python -m approval_resource` and `cli.py` are the same program."""

from __future__ import annotations

import importlib.util
import sys

absent = [name for name in ("botocore", "click", "pydantic", "tabulate") if importlib.util.find_spec(name) is None]
if absent:
    sys.exit(f"ERROR: this Python lacks {', '.join(absent)}; run `make cli`, then .venv/bin/python cli.py")

from approval_resource.commands.root import cli


def main() -> None:
    """Run the command line, and end the process with its exit code."""
    cli()


if __name__ == "__main__":
    main()
