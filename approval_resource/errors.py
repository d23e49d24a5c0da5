"""Every failure raised on purpose. Each carries what it is about and words its own message."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from approval_resource.text import clean

if TYPE_CHECKING:
    from approval_resource.model.claim import Claim
    from approval_resource.model.lock import Lock

P = ParamSpec("P")
T = TypeVar("T")


class ApprovalError(Exception):
    """The root; never raised itself. Its text is one or more lines for a person."""


class ConfigError(ApprovalError):
    """What was asked for can't be right. `problems` holds every fault found, one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class Problems:
    """Collect every problem of one input, so that all of them are told together."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, line: str) -> None:
        """Keep a problem."""
        self.lines.append(line)

    def gather(self, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Return what `read` returns; where it raises `ConfigError`, keep its problems and return None."""
        try:
            return read(*args, **kwargs)
        except ConfigError as wrong:
            self.lines += wrong.problems
            return None

    def require_none(self) -> None:
        """Pass when no problem was found.

        Raises:
            ConfigError: every problem found, in the order of the input.
        """
        if self.lines:
            raise ConfigError(self.lines)


class LockHeldError(ApprovalError):
    """The lock is held by `current`, so it can't be claimed now."""

    def __init__(self, current: Claim) -> None:
        self.current = current
        super().__init__(
            f'lock "{current.lock_name}" in pool "{current.pool}" is held by {clean(str(current.build))}; '
            f"wait for it, or see cli.py show {current.id}"
        )


class NothingToReleaseError(LockHeldError):
    """This build has no claim on the lock; that of `current` was left alone."""

    def __init__(self, current: Claim) -> None:
        super().__init__(current)
        self.args = (
            f'this build has nothing to release: lock "{current.lock_name}" in pool "{current.pool}" is held by '
            f"{clean(str(current.build))}{f', and in use by {clean(current.spent_by)}' if current.spent_by else ''}; "
            f"it was left alone, see cli.py show {current.id}",
        )


class NotYourTurnError(ApprovalError):
    """Others wait for `lock` and come first."""

    def __init__(self, lock: Lock) -> None:
        self.lock = lock
        first = clean(lock.queue[0].build) if lock.queue else "nobody"
        super().__init__(
            f'others wait for lock "{lock.name}" in pool "{lock.pool}", {first} first; join the queue, or see cli.py list --waiting'
        )


class QueueFullError(ApprovalError):
    """Nobody more can wait for `lock`."""

    def __init__(self, lock: Lock, limit: int) -> None:
        self.lock = lock
        super().__init__(
            f'the queue for lock "{lock.name}" in pool "{lock.pool}" is full: {len(lock.queue)} builds fill the {limit} bytes '
            "that are kept of it; try again later, see cli.py list --waiting"
        )


class WaitTimeoutError(ApprovalError):
    """The lock was not to be had within wait_timeout. `current` holds it, or others came first."""

    def __init__(self, lock: Lock, current: Claim | None, waited: str, *, left: bool = True) -> None:
        self.lock = lock
        self.current = current
        held = (
            f"is still held by {clean(str(current.build))} (claim {current.id})"
            if current
            else f"is free, but {clean(lock.queue[0].build) if lock.queue else 'somebody'} comes first"
        )
        super().__init__(
            f'gave up after {waited}: lock "{lock.name}" in pool "{lock.pool}" {held}; '
            f"{'this build has left the queue' if left else 'this build could not leave the queue, and will be passed over'}. "
            "Try again, or see cli.py list --waiting"
        )


class LockNotFoundError(ApprovalError):
    """No lock or claim of that name or id."""


class StaleLockError(ApprovalError):
    """The claim `current` is no longer where the caller needs it to be."""

    def __init__(self, current: Claim, wanted: str, instead: str = "show") -> None:
        """`instead`: the command that helps."""
        self.current = current
        super().__init__(
            f'claim {current.id} of lock "{current.lock_name}" is {describe_state(current)}, so it can\'t be {wanted}; '
            f"see cli.py {instead} {current.id}"
        )


class RequestChangedError(ApprovalError):
    """This build asked for something else under the same key, and that claim is past changing."""

    def __init__(self, current: Claim) -> None:
        self.current = current
        super().__init__(
            f'this build already asked for lock "{current.lock_name}" with other params, and that claim '
            f"({current.id}) is {describe_state(current)}; give this step a claim_key of its own"
        )


class NoApprovalNeededError(ApprovalError):
    """The claim `current` never asked for an approval, so none can be given and no gate can rest on it."""

    def __init__(self, current: Claim) -> None:
        self.current = current
        super().__init__(
            f'claim {current.id} of lock "{current.lock_name}" needs no approval; claim with need_approval: true to ask for one'
        )


class AlreadyReviewedError(ApprovalError):
    """The claim `current` was decided or has ended; a review changes nothing any more."""

    def __init__(self, current: Claim) -> None:
        self.current = current
        super().__init__(
            f'claim {current.id} of lock "{current.lock_name}" is {describe_state(current)}; nothing was changed, '
            f"see cli.py show {current.id}"
        )


class ReviewsFullError(ApprovalError):
    """The claim `current` holds as many people's reviews as it can."""

    def __init__(self, current: Claim) -> None:
        self.current = current
        super().__init__(
            f"claim {current.id} already holds {len(current.reviews)} people's reviews, the most it can; "
            "who reviewed may still change their mind"
        )


class ReviewRejectedError(ApprovalError):
    """The gate stays shut: `current` was rejected."""

    def __init__(self, current: Claim) -> None:
        self.current = current
        super().__init__(f"The lock hasn't been approved, exiting: {current.lock_name} was {describe_state(current)}")


class ReviewTimeoutError(ApprovalError):
    """The gate stays shut: nobody decided on `current` in time."""

    def __init__(self, current: Claim, waited_until: str) -> None:
        self.current = current
        super().__init__(
            f"The lock hasn't been approved, exiting: nobody decided on {current.lock_name} by {waited_until}; "
            "claim it again to ask again"
        )


class GateTimeoutError(ApprovalError):
    """The gate stays shut: its timeout passed, though `current` may still be decided on."""

    def __init__(self, current: Claim) -> None:
        self.current = current
        until = f" until {current.deadline:%Y-%m-%d %H:%M:%S} UTC" if current.deadline else ""
        super().__init__(
            f"The lock hasn't been approved, exiting: gave up after this step's timeout; claim {current.id} of "
            f"{current.lock_name} may still be decided on{until}, and holds its lock. Approve it, or run cli.py withdraw {current.id}"
        )


class ApprovalSpentError(ApprovalError):
    """The approval of `current` opened the gate for another build before."""

    def __init__(self, current: Claim) -> None:
        self.current = current
        super().__init__(
            f"the approval of claim {current.id} was already used by {clean(current.spent_by)}, and this is no retry of it; "
            "ask for a new one, or await it with reuse: true"
        )


class ApprovalLapsedError(ApprovalError):
    """The approval of `current` is older than its policy lets it be used."""

    def __init__(self, current: Claim) -> None:
        self.current = current
        until = f"{current.valid_until:%Y-%m-%d %H:%M:%S} UTC" if current.valid_until else "its end"
        super().__init__(
            f"the approval of claim {current.id} of {current.lock_name} could be used until {until}, by its policy's valid_for; "
            "claim again to ask for a new one"
        )


class NotEntitledError(ApprovalError):
    """This person's say doesn't count for the claim `current`."""

    def __init__(self, current: Claim, why: str) -> None:
        self.current = current
        super().__init__(
            f"You do not have permission to approve or reject claim {current.id} of {current.lock_name}: {why}; "
            f"nothing was changed, see cli.py show {current.id}"
        )


class UnsupportedDecisionError(ApprovalError):
    """The claim `current` says it is approved, but its policies and reviews don't."""

    def __init__(self, current: Claim, reasons: Sequence[str]) -> None:
        self.current = current
        self.reasons = tuple(reasons)
        super().__init__(
            f"claim {current.id} of {current.lock_name} is marked approved, but its policies and reviews don't support that: "
            f"{clean('; '.join(self.reasons))}; nothing was opened. Run cli.py audit verify"
        )


class ContentChangedError(ApprovalError):
    """A file is not the one that was approved."""

    def __init__(self, current: Claim, problems: Sequence[str]) -> None:
        self.current = current
        self.problems = tuple(problems)
        super().__init__(
            "\n".join((*self.problems, f"what was approved is no longer what would be used (claim {current.id}); claim again"))
        )


class PoolFrozenError(ApprovalError):
    """No gate opens for `current` now, though it is approved."""

    def __init__(self, current: Claim, why: str) -> None:
        self.current = current
        self.why = why
        super().__init__(f"claim {current.id} is approved, but its gate stays shut: {why}")


class CorruptRecordError(ApprovalError):
    """Something stored can't be understood, or isn't what its digest says."""

    def __init__(self, what: str, why: str) -> None:
        self.what = what
        self.why = why
        super().__init__(f"{what} can't be trusted: {why}; nothing was opened. Run cli.py audit verify")


class StoreUnavailableError(ApprovalError):
    """DynamoDB could not be asked, or would not answer. `passing`: it did before, so it may again."""

    def __init__(self, message: str, *, passing: bool = False) -> None:
        self.passing = passing
        super().__init__(message)


class TableMissingError(StoreUnavailableError):
    """The table isn't there and could not be made."""


def describe_state(claim: Claim) -> str:
    """A claim's state with who, when and why, as a person would say it."""
    ruling = claim.ended or claim.decided
    if ruling is None:
        return claim.state.value
    why = f": {clean(ruling.reason)}" if ruling.reason else ""
    return f"{ruling.state.value} by {clean(ruling.actor)} at {ruling.at:%Y-%m-%d %H:%M:%S} UTC{why}"
