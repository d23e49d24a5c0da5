"""serve: run the reviewers' service, or say what is wrong with its config."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click

from approval_resource.commands.exit_codes import FAILED
from approval_resource.commands.shared import say_error
from approval_resource.errors import ConfigError
from approval_resource.text import first_lines

NEEDED = ("cryptography", "jinja2", "jwt", "prometheus_client", "starlette", "uvicorn")


@click.command("serve")
@click.option(
    "--config",
    "path",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path),
    help="The service's config, a YAML file.",
)
@click.option(
    "--check", is_flag=True, help="Say all that is wrong with the config, its issuers, its channels and the table, and end."
)
def commands(path: Path, check: bool) -> None:
    """Run the reviewers' service: a page, an API and links, for people without AWS keys."""
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        raise ConfigError(
            [f"the service needs {', '.join(absent)}; install the extra `service`, or take the image tagged X.Y.Z-service"]
        )
    from approval_resource.service.config import read_config
    from approval_resource.service.server import faults, serve

    if check:
        found = list(faults(path))
        for line in first_lines(found):
            say_error(line)
        if found:
            click.get_current_context().exit(FAILED)
        click.echo("INFO: the config is fine; its issuers, its channels and its table answer")
        return
    serve(read_config(path))
