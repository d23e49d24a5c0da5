"""A story that real processes play on one lock while their line to the engine fails, and what must be true after it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from approval_resource.audit import verify as audit
from approval_resource.model.claim import Claim
from approval_resource.model.event import Event, Kind, State
from approval_resource.steps.protocol import Version
from approval_resource.store.dynamodb.store import DynamoStore
from tests import tally
from tests.scripts.conftest import LOCK, ROOT, Concourse, Result, Running, _environment, until

STEP_SECONDS = 90.0
"""No step waits for its store longer than a minute."""
GAVE_UP = "(gave up after "
SHUT = "hasn't been approved"
Begin = Callable[[Concourse], Running]


def require_decent(result: Result, what: str) -> None:
    """However it ended: an answer and exit 0, or lines for a person and exit 1."""
    told = f"{what}: exit {result.code}\n{result.stdout}{result.stderr}"
    assert result.code in (0, 1), told
    assert "Traceback" not in result.stderr, told
    if result.code == 0:
        assert result.stdout.count("\n") == 1 or what.startswith("cli"), told
    else:
        assert result.stdout == "", told
        assert result.stderr.strip(), told


@dataclass
class Story:
    """Builds that contend for one lock, people who decide, gates, releases and checks."""

    pool: str
    store: DynamoStore
    random: Random
    clear: Concourse
    """The line on which nothing goes wrong."""
    line: Callable[[], Concourse]
    """The line for the next process."""
    verdicts: dict[str, str] = field(default_factory=dict)
    """What the command line reported as done, by claim."""
    opened: Counter[str] = field(default_factory=Counter)
    """How many gates let their build pass, by claim."""
    seen: list[dict[str, str]] = field(default_factory=list)
    """The versions that one check after the other handed out."""
    gave_up: int = 0
    """Steps whose store was away too long for them."""

    def ends(self, what: str, running: Running, begin: Begin) -> Result:
        """How a step ended; one that gave up, since its store was away too long, is run again where nothing goes wrong."""
        result = running.ends(STEP_SECONDS)
        require_decent(result, what)
        if result.code == 1 and GAVE_UP in result.stderr:
            self.gave_up += 1
            result = begin(self.clear).ends(STEP_SECONDS)
            require_decent(result, f"{what}, again")
            assert GAVE_UP not in result.stderr
        return result

    def run(self, what: str, begin: Begin) -> Result:
        """Begin that step on a failing line, and see how it ends."""
        return self.ends(what, begin(self.line()), begin)

    def play(self, builds: int) -> None:
        """Each build claims, is decided on, passes or doesn't, and gives the lock back, in whatever order they come."""
        modes = {number: self.random.choice(["wait", "get", "await"]) for number in range(1, builds + 1)}
        begins = {number: _claiming(number, mode) for number, mode in modes.items()}
        queue = {number: begin(self.line()) for number, begin in begins.items()}
        verdicts = (["approve", "reject"] * builds)[:builds]
        self.random.shuffle(verdicts)
        for verdict in verdicts:
            claim = self._next(queue, begins)
            number = int(claim.build.id)
            put = (queue.pop(number), begins[number])
            self._turn(number, modes[number], verdict, claim, put)
        assert not queue

    def _next(self, queue: Mapping[int, Running], begins: Mapping[int, Begin]) -> Claim:
        """The claim that holds the lock; a claimer that gave up meanwhile is begun again."""

        def look() -> Claim | None:
            for number, running in queue.items():
                if not running.running and running.ends().code == 1:
                    self._again(queue, number, begins[number])
            held = [claim for claim in self.store.open_claims(self.pool) if int(claim.build.id) in queue]
            return held[0] if held else None

        found = until(look, "a claim", STEP_SECONDS)
        assert found is not None
        return found

    def _again(self, queue: Any, number: int, begin: Begin) -> None:
        ended = queue[number].ends()
        require_decent(ended, f"claim of build {number}")
        assert GAVE_UP in ended.stderr, ended.stderr
        self.gave_up += 1
        queue[number] = begin(self.clear)

    def _turn(self, number: int, mode: str, verdict: str, claim: Claim, put: tuple[Running, Begin]) -> None:
        """One claim from its decision to its end."""
        gate, begin = put
        if mode != "wait":
            claimed = self.ends(f"claim of build {number}", gate, begin)
            assert claimed.version["id"] == claim.id
            begin = _gate(number, mode, claimed.version)
            gate = begin(self.line())
        checking = self.begin_check(self.line())
        gave_up = self.gave_up
        decided = self.run(f"cli {verdict}", deciding(verdict, claim.id))
        # Who was not answered may be told that it is decided already: by themselves.
        assert decided.code == 0 or self.gave_up > gave_up, decided.stderr
        if decided.code == 0:
            self.verdicts[claim.id] = verdict
            self._require_verdict(claim.id)
        passed = self.ends(f"gate ({mode}) of build {number}", gate, begin)
        if verdict == "approve":
            assert passed.version["id"] == claim.id
            self.opened[claim.id] += 1
        else:
            assert passed.code == 1, passed.stdout
            assert SHUT in passed.stderr
        if mode == "await" and verdict == "approve":
            second = self.run("await of a second build", _gate(100 + number, mode, passed.version))
            assert "has used the approval of claim" in second.refused()
        if verdict == "approve":
            released = self.run(f"release of build {number}", _releasing(number))
            assert (released.version["id"], released.version["state"]) == (claim.id, "released")
        self.end_check(*checking)

    def begin_check(self, through: Concourse) -> tuple[Running, Begin]:
        """Let Concourse begin to look for what is new."""
        if not self.seen:
            self.seen = [first.render() for first in self._states()[:1]]
        version = self.seen[-1]

        def begin(through: Concourse) -> Running:
            return through.start("check", {"source": through.source, "version": version}, [])

        return begin(through), begin

    def end_check(self, checking: Running, begin: Begin) -> None:
        """Note what it found."""
        found = self.ends("check", checking, begin).answer
        assert found[0] == self.seen[-1]
        self.seen += found[1:]

    def _states(self) -> list[Version]:
        events = self.store.events(self.pool)
        return [
            Version(event.claim_id, event.lock_name, event.kind.state, event.timestamp) for event in events if event.kind.state
        ]

    # ---- after it ------------------------------------------------------------------

    def require_promises(self, builds: int) -> None:
        """Hold the store, read where nothing goes wrong, against everything that was told."""
        self.end_check(*self.begin_check(self.clear))
        events = list(self.store.events(self.pool))
        claims = {claim.id: claim for claim in self.store.all_claims() if claim.pool == self.pool}
        assert audit.verify(self.store, self.pool).findings == []
        assert set(claims) == {event.claim_id for event in events}
        assert Counter(claim.build.id for claim in claims.values()) == Counter(str(number) for number in range(1, builds + 1))
        assert self.store.open_claims(self.pool) == []
        _require_one_holder(events)
        fences = [claims[event.claim_id].fence for event in events if event.kind is Kind.PENDING]
        assert fences == list(range(1, builds + 1))
        for claim_id in self.verdicts:
            self._require_verdict(claim_id)
        for claim in claims.values():
            kinds = Counter(event.kind for event in events if event.claim_id == claim.id)
            assert kinds[Kind.APPROVED] + kinds[Kind.REJECTED] == 1
            assert self.opened[claim.id] == kinds[Kind.PASSED] + kinds[Kind.SPENT] == kinds[Kind.APPROVED], claim.id
        assert self.seen == [version.render() for version in self._states()]
        tally.add(claims=builds, steps_that_gave_up=self.gave_up, lost=0, double=0, stuck=0)

    def _require_verdict(self, claim_id: str) -> None:
        """What the command line reported as done is done."""
        claim = self.store.claim(claim_id)
        assert claim is not None
        assert claim.decided is not None, f"the verdict on {claim_id} was lost"
        wanted = State.APPROVED if self.verdicts[claim_id] == "approve" else State.REJECTED
        assert (claim.decided.state, claim.decided.actor) == (wanted, "typed:alice")


def _require_one_holder(events: list[Event]) -> None:
    """Nobody comes to hold the lock before who held it has given it back."""
    holder = ""
    for event in events:
        if event.state is not None:
            assert holder in ("", event.claim_id), f"{event.claim_id} while {holder} held the lock"
            holder = event.claim_id if event.state.is_open else ""


def deciding(verdict: str, claim_id: str) -> Begin:
    """A person decides on that claim by the command line."""
    command = [sys.executable, str(ROOT / "cli.py"), verdict, "--id", claim_id]

    def begin(through: Concourse) -> Running:
        given = _environment() | through.engine.environment(through.table) | {"LOGNAME": "alice"}
        return through._run(command, b"", given, through.scratch)

    return begin


def _claiming(number: int, mode: str) -> Begin:
    wait = {"wait": True} if mode == "wait" else {}
    return lambda through: through.start_put("claim", build=number, lock_name=LOCK, need_approval=True, **wait)


def _gate(number: int, mode: str, version: Mapping[str, str]) -> Begin:
    if mode == "get":
        return lambda through: through.start_get(version, build=number, need_approval=True)
    return lambda through: through.start_put("await", build=number, lock_name=LOCK)


def _releasing(number: int) -> Begin:
    return lambda through: through.start_put("release", build=number, lock_name=LOCK)
