"""list, show, approve, reject, withdraw, login through a reviewers' service, without access to the table."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import click
import urllib3
from pydantic import BaseModel, ValidationError
from tabulate import tabulate

from approval_resource.clock import HostClock
from approval_resource.commands.device import Device, by_https
from approval_resource.commands.exit_codes import FAILED
from approval_resource.commands.shared import FORMAT, connection_of, filled_in, say_error
from approval_resource.errors import ApprovalError, ConfigError, StoreUnavailableError
from approval_resource.model.claim import MAX_COMMENT
from approval_resource.program import called
from approval_resource.store.dynamodb.presigned import presigned_token
from approval_resource.store.interface import Connection
from approval_resource.text import clean, first_lines

TOKEN = "APPROVAL_TOKEN"  # noqa: S105 - the variable's name
COLUMNS = ("id", "pool", "lock_name", "state", "waits_for_you", "description", "build")
DONE = {"approved": "approve", "rejected": "reject"}


class RefusedError(ApprovalError):
    """Refusal by the service, in its words."""


class Told(BaseModel):
    """Answer of the service: the fields that are relied on here. Others are printed as they come."""


class Listed(Told):
    """Claim in a list."""

    id: str
    pool: str
    lock_name: str
    state: str
    waits_for_you: bool
    description: str
    build: str


class Page(Told):
    """Page of a list."""

    claims: list[Listed]
    next: str | None


class Reviewer(Told):
    """Person who gave a verdict."""

    username: str


class Approval(Told):
    """Verdict on a claim."""

    status: str
    created_at: str
    comment: str | None
    user: Reviewer


class Shown(Told):
    """Claim with what was said about it."""

    reasons: list[str]
    openers: list[str]
    approvals: list[Approval]


class Older(Told):
    """Older claim that was to end with an approval."""

    id: str
    done: bool
    sentence: str


class Recorded(Told):
    """Verdict that was recorded."""

    sentence: str
    superseded: list[Older]


class Ended(Told):
    """Claim that was taken back."""

    id: str
    state: str
    lock_name: str


class Service:
    """Client of a reviewers' service."""

    def __init__(self, url: str, connection: Connection) -> None:
        """Speak to `url` with the token in APPROVAL_TOKEN, else with one from the AWS credentials.

        Raises:
            ConfigError: the address has no host, or would send the token unencrypted.
        """
        self._url = _address(url)
        self._token = os.environ.get(TOKEN, "").strip() or _presigned(connection, self._url)
        self._pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(total=30))

    def ask(
        self, path: str, shape: type[Told], body: Mapping[str, Any] | None = None, **headers: str
    ) -> tuple[dict[str, Any], str]:
        """Return the answer's document, which has that shape, and its ETag.

        Raises:
            RefusedError: the service refuses.
            StoreUnavailableError: it gives no answer, or one of another shape.
        """
        sent = {"Authorization": f"Bearer {self._token}", "Accept": "application/json", **headers}
        if body is not None:
            sent["Content-Type"] = "application/json"
        try:
            answer = self._pool.request(
                "GET" if body is None else "POST",
                f"{self._url}/api/v1{path}",
                body=None if body is None else json.dumps(body),
                headers=sent,
                redirect=False,
            )
            document = json.loads(answer.data)
        except (urllib3.exceptions.HTTPError, OSError, ValueError, RecursionError) as error:
            raise StoreUnavailableError(f"{self._url} gave no answer that can be read ({type(error).__name__})") from error
        if not isinstance(document, dict) or answer.status >= 400:
            told = document.get("detail") if isinstance(document, dict) else ""
            raise RefusedError(clean(str(told or f"{self._url} answered {answer.status}")))
        try:
            shape.model_validate(document)
        except ValidationError as wrong:
            place = clean(".".join(map(str, wrong.errors()[0]["loc"])))[:80]
            raise StoreUnavailableError(
                f"{self._url} gave no answer that can be read ({place}); is a reviewers' service of this version there?"
            ) from wrong
        return document, str(answer.headers.get("etag", ""))


def _address(url: str) -> str:
    if not by_https(url):
        raise ConfigError(["--service: must be https:// and a host"])
    return url.rstrip("/")


def _presigned(connection: Connection, url: str) -> str:
    try:
        return presigned_token(connection, url)
    except (ConfigError, StoreUnavailableError) as none:
        way = f"{called()} --service {url} login"
        raise ConfigError([f"{none}; without AWS credentials sign in: export {TOKEN}=$({way})"]) from none


def _service() -> Service:
    context = click.get_current_context()
    root = context.find_root()
    return Service(str(root.params["service"]), context.find_object(Connection) or connection_of(Connection(), {}))


@click.command("list")
@click.option("--pool", help="Only this pool's.")
@click.option("--mine", is_flag=True, help="Only what waits for you.")
@FORMAT
def list_(pool: str | None, mine: bool, form: str) -> None:
    """Show what waits for approval."""
    service, found, cursor = _service(), [], ""
    while True:
        query = {"mine": str(mine).lower(), "cursor": cursor} | ({"pool": pool} if pool else {})
        page, _ = service.ask(f"/claims?{urlencode(query)}", Page)
        found += page["claims"]
        before, cursor = cursor, page["next"] or ""
        if not cursor:
            break
        # Cursors must grow, so that no answer of the service makes this loop endless.
        if cursor <= before:
            raise StoreUnavailableError("the service's list comes to no end; try again")
    if form == "json":
        click.echo(json.dumps(found, indent=2))
        return
    rows = [[clean(str(one[column])) for column in COLUMNS] for one in found]
    click.echo(tabulate(rows, headers=COLUMNS, disable_numparse=True) if rows else "There is no waiting approval")


@click.command()
@click.argument("claim_id", metavar="ID")
@FORMAT
def show(claim_id: str, form: str) -> None:
    """Show one claim: what it is for, who said what, and what its policies make of it."""
    document, _ = _service().ask(f"/claims/{quote(claim_id, safe='')}", Shown)
    if form == "json":
        click.echo(json.dumps(document, indent=2))
        return
    plain = {name: value for name, value in document.items() if isinstance(value, str | bool | int) and value != ""}
    click.echo(tabulate([[name, clean(str(value))] for name, value in plain.items()], tablefmt="plain", disable_numparse=True))
    for name in ("reasons", "openers"):
        for line in document[name]:
            click.echo(f"{name[:-1]}: {clean(str(line))}")
    for one in document["approvals"]:
        click.echo(clean(f"{one['status']} by {one['user']['username']}, {one['created_at']} {one['comment'] or ''}").rstrip())


def _deciding(status: str) -> Callable[..., Any]:
    def decide(
        ids: tuple[str, ...],
        comment: str,
        rules: tuple[str, ...],
        force: bool,
        inputs: tuple[str, ...] = (),
        older: tuple[str, ...] = (),
    ) -> None:
        if not ids:
            raise ConfigError([f"Please give an id, see {called()} --service URL list"])
        filled = filled_in(inputs)
        body = {"status": status, "comment": comment, "represented_as": list(rules), "force": force}
        body |= {"inputs": filled} if filled else {}
        body |= {"supersede": list(older)} if older else {}
        service, failed = _service(), False
        for claim_id in ids:
            path = f"/claims/{quote(claim_id, safe='')}"
            try:
                _, seen = service.ask(path, Told)
                done, _ = service.ask(f"{path}/reviews", Recorded, body, **{"If-Match": seen})
            except ApprovalError as error:
                failed = True
                for line in first_lines(str(error).splitlines()):
                    say_error(line)
                continue
            click.echo(f"INFO: {claim_id}: {clean(str(done['sentence']))}")
            for one in done["superseded"]:
                failed = failed or not one["done"]
                click.echo(f"INFO: {clean(str(one['id']))}: {clean(str(one['sentence']))}")
        if failed:
            click.get_current_context().exit(FAILED)

    decide.__doc__ = f"{DONE[status].capitalize()} one or more claims."
    for option in (
        click.option("--force", is_flag=True, help="Decide whatever others say, as who may by the policy; needs --comment."),
        click.option("--as", "rules", metavar="RULE", multiple=True, help="The approval rule it is for, by name."),
        click.option("--comment", default="", help=f"Why; kept on record. At most {MAX_COMMENT} characters."),
        click.argument("ids", metavar="[ID]...", nargs=-1),
    ):
        decide = option(decide)
    return decide


approve = click.command("approve")(
    click.option(
        "--supersede",
        "older",
        metavar="ID",
        multiple=True,
        help="An older claim of the pipeline to close with it, if approved.",
    )(
        click.option(
            "--input", "inputs", metavar="NAME=VALUE", multiple=True, help="Something that the policy asks you to fill in."
        )(_deciding("approved"))
    )
)
reject = click.command("reject")(_deciding("rejected"))


@click.command()
@click.argument("claim_id", metavar="ID")
@click.option("--reason", default="", help="Why; kept on record.")
@click.option("--force", is_flag=True, help="By force, as an operator of the pool; needs --reason.")
def withdraw(claim_id: str, reason: str, force: bool) -> None:
    """Take back a claim that still waits for its decision."""
    ended, _ = _service().ask(f"/claims/{quote(claim_id, safe='')}/withdrawal", Ended, {"reason": reason, "force": force})
    click.echo(f"INFO: Claim {ended['id']} has been {ended['state']}; the lock {clean(str(ended['lock_name']))} is free")


@click.command()
def login() -> None:
    """Sign in at the service's issuer by a browser, and print the token for APPROVAL_TOKEN."""
    url = _address(str(click.get_current_context().find_root().params["service"]))
    click.echo(Device(url, HostClock(), lambda line: click.echo(line, err=True)).token())


COMMANDS: Mapping[str, click.Command] = {
    str(command.name): command for command in (list_, show, approve, reject, withdraw, login)
}
