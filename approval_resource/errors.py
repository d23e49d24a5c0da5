"""Errors: every failure that is raised on purpose. Each carries its subject and words its own message."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from approval_resource.model.event import State
from approval_resource.program import called
from approval_resource.text import clean, duration, visible

if TYPE_CHECKING:
    from approval_resource.model.claim import Claim
    from approval_resource.model.lock import Lock

P = ParamSpec("P")
T = TypeVar("T")


class ApprovalError(Exception):
    """Root of the errors, never raised itself. Its text is one or more lines for a person."""


class ConfigError(ApprovalError):
    """Invalid request or configuration. `problems` holds every fault found, one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        """Join the problems to one message."""
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class Problems:
    """Collector of every problem of one input, so that all of them are reported together."""

    def __init__(self) -> None:
        """Start without a problem."""
        self.lines: list[str] = []

    def add(self, line: str) -> None:
        """Keep one problem."""
        self.lines.append(line)

    def gather(self, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Return the result of `read`. If it raises `ConfigError`, keep its problems and return None."""
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
    """Refusal of a claim: the claim `current` holds the lock."""

    def __init__(self, current: Claim) -> None:
        """Name the lock and its holder `current`."""
        self.current = current
        super().__init__(
            f'lock "{current.lock_name}" in pool "{current.pool}" is held by {clean(str(current.build))}; '
            f"wait for it, or see {called()} show {current.id}"
        )


class NothingToReleaseError(LockHeldError):
    """Refusal of a release: this build has nothing to release. The holder `current` was left alone."""

    def __init__(self, current: Claim) -> None:
        """Name the lock, its holder `current`, and the build that uses its approval, if any."""
        super().__init__(current)
        self.args = (
            f'this build has nothing to release: lock "{current.lock_name}" in pool "{current.pool}" is held by '
            f"{clean(str(current.build))}{f', and in use by {clean(current.spent_by)}' if current.spent_by else ''}; "
            f"it was left alone, see {called()} show {current.id}",
        )


class NotYourTurnError(ApprovalError):
    """Refusal of a claim: other builds wait in the queue of `lock` and come first."""

    def __init__(self, lock: Lock) -> None:
        """Name the lock and its first waiter."""
        self.lock = lock
        first = clean(lock.queue[0].build) if lock.queue else "nobody"
        super().__init__(
            f'others wait for lock "{lock.name}" in pool "{lock.pool}", {first} first; join the queue, or see {called()} list --waiting'
        )


class QueueFullError(ApprovalError):
    """Refusal to queue: the queue of `lock` has no room for another build."""

    def __init__(self, lock: Lock, limit: int) -> None:
        """Name the lock and the queue's `limit` in bytes."""
        self.lock = lock
        super().__init__(
            f'the queue for lock "{lock.name}" in pool "{lock.pool}" is full: its {len(lock.queue)} builds take up the {limit} bytes '
            f"that a queue may have; try again later, see {called()} list --waiting"
        )


class WaitTimeoutError(ApprovalError):
    """Timeout of a claim: the lock could not be acquired within wait_timeout.

    The claim `current` holds it. None means that other builds came first.
    """

    def __init__(self, lock: Lock, current: Claim | None, waited: str, *, left: bool = True) -> None:
        """Say how long the build `waited`, and whether it has `left` the queue."""
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
            f"Try again, or see {called()} list --waiting"
        )


class LockNotFoundError(ApprovalError):
    """Unknown lock or claim: nothing has that name or id."""


class StaleLockError(ApprovalError):
    """Refusal: the claim `current` is no longer in the state that the caller needs."""

    def __init__(self, current: Claim, wanted: str, instead: str = "show") -> None:
        """Say that the claim can't be `wanted`, such as `passed`. `instead` is the command that helps."""
        self.current = current
        super().__init__(
            f'claim {current.id} of lock "{current.lock_name}" is {describe_state(current)}, so it can\'t be {wanted}; '
            f"see {called()} {instead} {current.id}"
        )


class NotAwaitingDecisionError(ApprovalError):
    """Refusal of a decision: the claim `current` is not waiting for one.

    `newest` is the claim that holds its lock, if any does.
    """

    def __init__(self, current: Claim, newest: Claim | None) -> None:
        """Describe the state of the claim `current`, and name `newest`, which may be decided on instead."""
        self.current = current
        self.newest = newest
        after = f"nothing waits for a decision on this lock now, see {called()} show {(newest or current).id}"
        if newest is not None and newest.state is State.PENDING:
            after = "to decide on that one, look at it first, then start this job again"
        named = (
            f"its lock's newest claim is {newest.id} of {clean(str(newest.build))}, {newest.state.value}: " if newest else ""
        )
        super().__init__(
            f'claim {current.id} of lock "{current.lock_name}" is {describe_state(current)}, so it can\'t be decided on; {named}{after}'
        )


class RequestChangedError(ApprovalError):
    """Refusal of a retry whose request differs from that of this build's claim `current`.

    The claim can't be replaced: it isn't pending, and it holds its lock or was decided.
    """

    def __init__(self, current: Claim) -> None:
        """Name the claim `current` and its state."""
        self.current = current
        super().__init__(
            f'this build already asked for lock "{current.lock_name}" with other params, and that claim '
            f"({current.id}) is {describe_state(current)}; give this step a claim_key of its own"
        )


class NoApprovalNeededError(ApprovalError):
    """Refusal: the claim `current` never asked for an approval.

    Nobody can approve it, and no gate can rest on it.
    """

    def __init__(self, current: Claim) -> None:
        """Name the claim `current` and its lock."""
        self.current = current
        super().__init__(
            f'claim {current.id} of lock "{current.lock_name}" needs no approval; claim with need_approval: true to ask for one'
        )


class AlreadyReviewedError(ApprovalError):
    """Refusal of a review: the claim `current` was decided or has ended. The review was not recorded."""

    def __init__(self, current: Claim) -> None:
        """Name the claim `current` and its state."""
        self.current = current
        super().__init__(
            f'claim {current.id} of lock "{current.lock_name}" is {describe_state(current)}; nothing was changed, '
            f"see {called()} show {current.id}"
        )


class ChangedSinceShownError(ApprovalError):
    """Refusal of a review: the claim `current`, or its pool's settings, changed since they were shown."""

    def __init__(self, current: Claim) -> None:
        """Name the claim `current`."""
        self.current = current
        super().__init__(
            f'claim {current.id} of lock "{current.lock_name}" changed since you looked; nothing was recorded. '
            "Look again at what it is now, and decide on that"
        )


class LinkSpentError(ApprovalError):
    """Refusal of a review: the link by which it came was used before."""

    def __init__(self, current: Claim) -> None:
        """Name the claim `current`."""
        self.current = current
        super().__init__(f"this link was used already; claim {current.id} is {describe_state(current)}, nothing was changed")


class ReviewsFullError(ApprovalError):
    """Refusal of a review: the claim `current` has no room for this review."""

    def __init__(self, current: Claim) -> None:
        """Name the claim `current` and the number of its reviews."""
        self.current = current
        super().__init__(
            f"claim {current.id} already holds {len(current.reviews)} people's reviews, the most it can; "
            "people who have reviewed it may still change their verdict"
        )


class ReviewRejectedError(ApprovalError):
    """Shut gate: the claim `current` was rejected."""

    def __init__(self, current: Claim) -> None:
        """Name the lock, and who rejected the claim `current`, when and why."""
        self.current = current
        super().__init__(
            f"The lock hasn't been approved, exiting: claim {current.id} of lock {current.lock_name} was {describe_state(current)}"
        )


class ReviewTimeoutError(ApprovalError):
    """Shut gate: nobody decided on the claim `current` in time."""

    def __init__(self, current: Claim, limit: str = "") -> None:
        """Name the claim and its deadline. `limit` names the option of this step that set the deadline."""
        self.current = current
        by = "in time"
        if current.deadline is not None:
            after = duration(current.deadline - current.created_at)
            by = f"by {current.deadline:%Y-%m-%d %H:%M:%S} UTC, {after} after it was claimed"
        super().__init__(
            f"The lock hasn't been approved, exiting: nobody decided on claim {current.id} of lock "
            f"{current.lock_name} {by}{f' ({limit})' if limit else ''}; claim it again to ask again"
        )


class GateTimeoutError(ApprovalError):
    """Shut gate: the step's timeout passed. The claim `current` may still be decided."""

    def __init__(self, current: Claim, limit: str = "") -> None:
        """Name the claim `current` and its deadline. `limit` describes this step's timeout."""
        self.current = current
        until = f" until {current.deadline:%Y-%m-%d %H:%M:%S} UTC" if current.deadline else ""
        super().__init__(
            f"The lock hasn't been approved, exiting: gave up after {limit or 'its timeout'}; claim {current.id} of lock "
            f"{current.lock_name} may still be decided on{until}, and holds its lock. Approve it, or run {called()} withdraw {current.id}"
        )


class ApprovalSpentError(ApprovalError):
    """Shut gate: the approval of `current` already opened a gate for another build."""

    def __init__(self, current: Claim) -> None:
        """Name the claim `current` and the build that used its approval."""
        self.current = current
        super().__init__(
            f"another build, {clean(current.spent_by)}, has used the approval of claim {current.id}, and this build is not a retry "
            "of that one; ask for a new approval, or await the used one with reuse: true"
        )


class ApprovalLapsedError(ApprovalError):
    """Shut gate: the approval of `current` is older than its policy's `valid_for`."""

    def __init__(self, current: Claim) -> None:
        """Name the claim `current` and the end of its approval."""
        self.current = current
        until = f"{current.valid_until:%Y-%m-%d %H:%M:%S} UTC" if current.valid_until else "its end"
        super().__init__(
            f"the approval of claim {current.id} of lock {current.lock_name} could be used until {until}, by its policy's valid_for; "
            "claim again to ask for a new one"
        )


class NotEntitledError(ApprovalError):
    """Refusal of a review, a withdrawal or a supersession: this person has no say on the claim `current`."""

    def __init__(self, current: Claim, why: str, act: str = "approve or reject") -> None:
        """Name the claim `current`, and say `why` the person may not `act` on it."""
        self.current = current
        super().__init__(
            f"You do not have permission to {act} claim {current.id} of lock {current.lock_name}: {why}; "
            f"nothing was changed, see {called()} show {current.id}"
        )


class UnsupportedDecisionError(ApprovalError):
    """Shut gate: `current` is marked approved, but its policies and reviews don't support that."""

    def __init__(self, current: Claim, reasons: Sequence[str]) -> None:
        """Name the claim `current` and the policies' `reasons`."""
        self.current = current
        self.reasons = tuple(reasons)
        super().__init__(
            f"claim {current.id} of lock {current.lock_name} is marked approved, but its policies and reviews don't support that: "
            f"{clean('; '.join(self.reasons))}; nothing was opened. Run {called()} audit verify"
        )


class ContentChangedError(ApprovalError):
    """Shut gate: a file is not the approved one."""

    def __init__(self, current: Claim, problems: Sequence[str]) -> None:
        """Name the claim `current` and each problem, one line each."""
        self.current = current
        self.problems = tuple(problems)
        super().__init__(
            "\n".join((*self.problems, f"what was approved is no longer what would be used (claim {current.id}); claim again"))
        )


class PoolFrozenError(ApprovalError):
    """Shut gate: the claim `current` is approved, but a freeze is in effect."""

    def __init__(self, current: Claim, why: str) -> None:
        """Name the claim `current`, and say `why` its gate stays shut."""
        self.current = current
        self.why = why
        super().__init__(f"claim {current.id} is approved, but its gate stays shut: {why}")


class CorruptRecordError(ApprovalError):
    """Corrupt record: a stored item can't be understood, or doesn't match its digest."""

    def __init__(self, what: str, why: str) -> None:
        """Name the record, `what`, and say `why` it can't be trusted."""
        self.what = what
        self.why = why
        super().__init__(f"{what} can't be trusted: {why}; nothing was opened. Run {called()} audit verify")


class StoreUnavailableError(ApprovalError):
    """Outage: DynamoDB could not be asked, or would not answer.

    `transient` says that it answered this process before, so a retry may help.
    """

    def __init__(self, message: str, *, transient: bool = False) -> None:
        """Take the whole `message`, since only the store knows the next move."""
        self.transient = transient
        super().__init__(message)


class TableMissingError(StoreUnavailableError):
    """Missing table: it doesn't exist and could not be created."""


def describe_state(claim: Claim) -> str:
    """Return a claim's state with who, when and why, as a person would say it."""
    ruling = claim.ended or claim.decided
    if ruling is None:
        return claim.state.value
    why = f": {clean(ruling.reason)}" if ruling.reason else ""
    return f"{ruling.state.value} by {visible(ruling.actor)} at {ruling.at:%Y-%m-%d %H:%M:%S} UTC{why}"
