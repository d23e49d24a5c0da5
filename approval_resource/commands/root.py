"""Root of the command line: its commands, and the options before a command."""

from __future__ import annotations

import io
import logging
import sys

import click

from approval_resource.commands import deciding, doctor, looking
from approval_resource.commands.shared import Commands, connected, connection_of
from approval_resource.logs import log_to
from approval_resource.program import VERSION, called_as
from approval_resource.store.interface import Connection

LATER = {name: f"approval_resource.commands.{name}" for name in ("audit", "notify", "policy", "pool", "serve")}


@click.group(cls=Commands, later=LATER, remote="approval_resource.commands.remote")
@click.version_option(VERSION)
@click.option("--debug", is_flag=True, help="Tell on stderr what is asked of DynamoDB.")
@click.option(
    "--service", metavar="URL", envvar="APPROVAL_SERVICE", help="Go through this reviewers' service instead of the table."
)
@connected
@click.pass_context
def cli(ctx: click.Context, /, debug: bool, service: str | None, **options: str | None) -> None:
    """See who holds which lock, decide on what waits, and check the record."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # escape what the terminal can't show instead of failing on it
    log_to(logging.StreamHandler(sys.stderr), debug=debug)
    ctx.with_resource(called_as(ctx.info_name or ""))
    ctx.obj = connection_of(Connection(), options)


for command in (*looking.COMMANDS, *deciding.COMMANDS, doctor.doctor):
    cli.add_command(command)
