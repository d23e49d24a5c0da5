"""approve, reject, unblock, release, withdraw: decide on a claim, or end it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

import click

from approval_resource.claims import decide as decisions
from approval_resource.claims import review as reviews
from approval_resource.claims.end import end_claim, force_release
from approval_resource.claims.lifecycle import require_reviewable
from approval_resource.commands import screen
from approval_resource.commands.completion import CLAIM_IDS
from approval_resource.commands.exit_codes import FAILED, UNCOUNTED
from approval_resource.commands.shared import (
    FORMAT,
    REASON,
    REVIEWER,
    connected,
    filled_in,
    find_claim,
    reason_of,
    reviewer_of,
    say_errors,
    store_of,
)
from approval_resource.errors import ApprovalError, ConfigError, StaleLockError
from approval_resource.model.claim import MAX_COMMENT, Claim, Verdict
from approval_resource.model.event import State
from approval_resource.program import called
from approval_resource.store.interface import LockStore
from approval_resource.text import clean, shortened

DECIDES = {Verdict.APPROVE: State.APPROVED, Verdict.REJECT: State.REJECTED}


def _deciding(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.argument("ids", metavar="[ID]...", nargs=-1, shell_complete=CLAIM_IDS),
        click.option(
            "--id",
            "more",
            metavar="ID",
            multiple=True,
            shell_complete=CLAIM_IDS,
            help="The claim; a unique beginning of 8 or more characters will do.",
        ),
        click.option("--comment", default="", help=f"Why; kept on record. At most {MAX_COMMENT} characters."),
        click.option("--as", "rules", metavar="RULE", multiple=True, help="The approval rule it is for, by name."),
        click.option("--force", is_flag=True, help="Decide whatever others say, as who may by the policy; needs --comment."),
        REVIEWER,
        connected,
    ):
        command = option(command)
    return command


@click.command()
@_deciding
@click.option("--input", "inputs", metavar="NAME=VALUE", multiple=True, help="Something that the policy asks you to fill in.")
def approve(**arguments: Any) -> None:
    """Approve one or more claims."""
    _review(Verdict.APPROVE, "approved", **arguments)


@click.command()
@_deciding
def reject(**arguments: Any) -> None:
    """Reject one or more claims."""
    _review(Verdict.REJECT, "rejected", **arguments)


def _review(  # noqa: PLR0913 - each is a word of its own at the call
    verdict: Verdict,
    done: str,
    ids: tuple[str, ...],
    more: tuple[str, ...],
    comment: str,
    rules: tuple[str, ...],
    force: bool,
    reviewer: str | None,
    inputs: tuple[str, ...] = (),
    **options: str | None,
) -> None:
    wanted = list(dict.fromkeys((*more, *ids)))
    if not wanted:
        raise ConfigError([f"Please give an id: --id ID, see {called()} list"])
    if len(comment) > MAX_COMMENT:
        raise ConfigError([f"--comment: at most {MAX_COMMENT} characters, not {len(comment)}"])
    if force and not comment.strip():
        raise ConfigError(["--comment: required with --force, since the record shall tell why"])
    filled = filled_in(inputs)
    store, connection = store_of(options)
    who = reviewer_of(connection, reviewer)
    failed = uncounted = False
    for given in wanted:
        try:
            claim = find_claim(store, given)
            recorded = reviews.review(
                store,
                claim.id,
                reviewer=who,
                verdict=verdict,
                comment=clean(comment),
                represented_as=tuple(dict.fromkeys(rules)),
                forced=force,
                inputs=filled,
            )
        except ApprovalError as error:
            failed = True
            say_errors(error)
            continue
        on_screen = sys.stdout.isatty()
        answer = (_answer if on_screen else _line)(store, recorded, verdict, done)
        click.echo(screen.paragraph(answer) if on_screen else answer)
        pending = verdict is Verdict.APPROVE and recorded.claim.state is State.PENDING
        why = decisions.discounted(store, recorded.claim, who) if pending else ""
        if why:
            uncounted = True
            click.echo(f"warning: this approval is on record, and opens nothing: {clean(why)}", err=True)
    if failed or uncounted:
        click.get_current_context().exit(FAILED if failed else UNCOUNTED)


def _line(store: LockStore, recorded: reviews.Recorded, verdict: Verdict, done: str) -> str:
    """Return the answer as programs read it.

    A decision is told in the words of the original resource, which call the claim a lock.
    """
    after = recorded.claim
    missing = decisions.missing(store, after)
    if not recorded.changed:
        return f"INFO: You had {done} claim {after.id} before; nothing has changed{missing and f': {missing}'}"
    if after.state is State.PENDING:
        return f"INFO: Your verdict on claim {after.id} is recorded; it is not decided yet{missing and f': {missing}'}"
    if after.state is not DECIDES[verdict]:
        return f"INFO: Your verdict on claim {after.id} is recorded; it has been {after.state.value}"
    return f"INFO: The lock {after.id} has been {done}"


def _answer(store: LockStore, recorded: reviews.Recorded, verdict: Verdict, done: str) -> str:
    """Return the answer for a person: the verdict, the claim, and what is still needed."""
    after = recorded.claim
    what = told(after)
    if after.state is State.PENDING:
        lead = f"{done.capitalize()} {what}" if recorded.changed else f"You had {done} {what} before; nothing has changed"
        return f"{lead}. Still needed: {clean(decisions.needed(store, after))}"
    if not recorded.changed:
        return f"You had {done} {what} before; nothing has changed. It is {after.state.value}"
    if after.state is not DECIDES[verdict]:
        return f"{done.capitalize()} {what}, and it has been {after.state.value} by others' reviews"
    ends = "Its gate opens" if after.state is State.APPROVED else "Its gate stays shut, and its lock is free"
    return f"{done.capitalize()} {what}. {ends}"


def told(claim: Claim) -> str:
    """Return a claim as people know it, such as `production (shop/deploy #21: release 3.2)`."""
    about = f"{claim.build}: {claim.description}" if claim.description else str(claim.build)
    return shortened(clean(f"{claim.lock_name} ({about})"))


@click.command()
@click.argument("claim_id", metavar="ID", shell_complete=CLAIM_IDS)
@FORMAT
@screen.options
@connected
def unblock(claim_id: str, form: str, original: bool, color: str, **options: str | None) -> None:
    """Show who can open a gate: the smallest sets of people whose approval would, or why none can."""
    store, _ = store_of(options)
    claim = find_claim(store, claim_id)
    require_reviewable(claim)
    found = decisions.openers(store, claim)
    if form == "json":
        sets = [[{"count": count, "of": list(people)} for count, people in wanted] for wanted in found.sets]
        document = {"id": claim.id, "sets": sets, "reasons": list(found.reasons), "complete": found.complete}
        if any(found.how):
            document["how"] = list(found.how)
        click.echo(json.dumps(document, indent=2))
        return
    missing = decisions.missing(store, claim) or "it needs one approval, by anyone"
    on_screen = screen.wanted(form, original, color)
    lines = [
        f"{told(claim)} is waiting: {missing}"
        if on_screen
        else f"Claim {claim.id} of lock {clean(claim.lock_name)} is waiting: {missing}"
    ]
    for wanted, line in zip(found.sets, found.lines, strict=True):
        if not wanted and claim.opens_at is None:
            lines.append("its reviews are enough by now: whoever approved may say so again, and it is decided")
        else:
            lines.append(f"{'or' if len(lines) > 1 else 'would be opened'} by: {clean(line)}")
    if not found.sets:
        lines.append("nobody can open it:" if found.complete else "no set was found among those tried:")
        lines += [f"  {clean(reason)}" for reason in found.reasons]
    for line in lines:
        click.echo(screen.paragraph(clean(line)) if on_screen else line)


@click.command()
@click.argument("claim_id", metavar="ID", shell_complete=CLAIM_IDS)
@click.option("--force", is_flag=True, help="A pending claim's too (it is withdrawn); needs --reason, and the log says forced.")
@REASON
@REVIEWER
@connected
def release(claim_id: str, force: bool, reason: str, reviewer: str | None, **options: str | None) -> None:
    """Free the lock of a claim that is held or approved, whatever its build thinks."""
    _require_reason(force, reason)
    _end(State.RELEASED, claim_id, reason, reviewer, options, force=force)


@click.command()
@click.argument("claim_id", metavar="ID", shell_complete=CLAIM_IDS)
@click.option("--force", is_flag=True, help="Though no rule names you; needs --reason, and the log says forced.")
@REASON
@REVIEWER
@connected
def withdraw(claim_id: str, force: bool, reason: str, reviewer: str | None, **options: str | None) -> None:
    """Take back a claim that still waits for its decision, as somebody whose rejection would count."""
    _require_reason(force, reason)
    _end(State.WITHDRAWN, claim_id, reason, reviewer, options, force=force)


def _require_reason(force: bool, reason: str) -> None:
    if force and not reason.strip():
        raise ConfigError(["--reason: required with --force, since the record shall tell why"])


def _end(
    state: State, claim_id: str, reason: str, reviewer: str | None, options: Mapping[str, str | None], *, force: bool = False
) -> None:
    why = reason_of(reason)
    store, connection = store_of(options)
    claim = find_claim(store, claim_id)
    if state is State.RELEASED and claim.state is State.PENDING and not force:
        raise StaleLockError(claim, "released", "withdraw")
    who = reviewer_of(connection, reviewer)
    if state is State.WITHDRAWN:
        ended = reviews.withdraw(store, claim, actor=who, reason=why, forced=force)
    elif force:
        ended = force_release(store, claim, actor=who, reason=why)
    else:
        ended = end_claim(store, claim, state, actor=who, reason=why)
    if sys.stdout.isatty():
        click.echo(screen.paragraph(f"{ended.state.value.capitalize()} {told(ended)}. The lock is free"))
    else:
        click.echo(f"INFO: Claim {ended.id} has been {ended.state.value}; the lock {clean(ended.lock_name)} is free")


COMMANDS = (approve, reject, unblock, release, withdraw)
