#!/usr/bin/env python3
"""Command line for reviewers, operators and auditors: parse the arguments, call the core, print.

Exit codes: 0 done; 1 refused, failed, interrupted, or faults found; 2 the command line itself is wrong; 3 an
audit could not look at the record.
"""

from __future__ import annotations

import importlib.util
import io
import logging
import sys

absent = [name for name in ("botocore", "click", "pydantic", "tabulate") if importlib.util.find_spec(name) is None]
if absent:
    sys.exit(f"ERROR: this Python lacks {', '.join(absent)}; run `make cli`, then .venv/bin/python cli.py")

import click

from approval_resource.commands import deciding, looking
from approval_resource.commands.shared import Commands, connected, connection_of
from approval_resource.logs import log_to
from approval_resource.store.interface import Connection

LATER = {name: f"approval_resource.commands.{name}" for name in ("audit", "notify", "policy", "pool")}


@click.group(cls=Commands, later=LATER)
@click.option("--debug", is_flag=True, help="Tell on stderr what is asked of DynamoDB.")
@connected
@click.pass_context
def cli(ctx: click.Context, /, debug: bool, **options: str | None) -> None:
    """See who holds which lock, decide on what waits, and check the record."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # escape what the terminal can't show instead of failing on it
    log_to(logging.StreamHandler(sys.stderr), debug=debug)
    ctx.obj = connection_of(Connection(), options)


for command in (*looking.COMMANDS, *deciding.COMMANDS):
    cli.add_command(command)


if __name__ == "__main__":
    cli()
