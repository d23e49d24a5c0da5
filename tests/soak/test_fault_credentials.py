"""Credentials that run out while a gate waits: fresh ones are fetched, and where there are none one line says so."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from approval_resource.claims import review as reviews
from approval_resource.model.claim import Claim, Verdict
from approval_resource.model.event import Kind, State
from approval_resource.steps.protocol import Version
from approval_resource.store.dynamodb.store import DynamoStore
from demo.engine import Engine
from tests import tally
from tests.builders import take
from tests.scripts.conftest import POOL, Concourse, Result, Running, held_by, kept, until
from tests.soak.proxy import Answer, Asked, Exchange, Proxy, Toxic, an_answer
from tests.soak.toxics import expired_token

ROLE = "arn:aws:iam::123456789012:role/worker"
AWAY = "; still waiting"
BACK = "DynamoDB answers again"
WAITS = "is waiting for an approval"
ADVISORY = timedelta(minutes=15)
"""So long before their end botocore begins to look for new credentials, and goes on with the old ones where there are none."""
MANDATORY = timedelta(minutes=10)
"""So long before their end it uses them no more."""
HOUR = timedelta(hours=1)
GIVEN = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<AssumedRoleUser><AssumedRoleId>AROA:approval-resource</AssumedRoleId>
<Arn>arn:aws:sts::123456789012:assumed-role/worker/approval-resource</Arn></AssumedRoleUser>
<Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>
<SessionToken>token</SessionToken><Expiration>{until:%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials>
</AssumeRoleResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></AssumeRoleResponse>"""
PAGES = (b"<html>being upgraded</html>", b"being upgraded")
"""One that is XML too, and one that isn't."""
DENIED = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
<Code>AccessDenied</Code><Message>User: x is not authorized to perform: sts:AssumeRole</Message></Error>
<RequestId>1</RequestId></ErrorResponse>"""


@dataclass
class Sts:
    """Where roles are assumed: hands out a new key each time, good for as long as the test says."""

    lives: list[timedelta] = field(default_factory=list)
    """How long each key is said to live, in order; the last one's goes for all after it."""
    given: list[str] = field(default_factory=list)
    instead: Toxic | None = None
    """What happens once `keys` keys were given."""
    keys: int = 1
    since: float = 0.0
    """When the first key was given."""
    line: Proxy = field(init=False)

    def judge(self, _: Asked) -> Toxic:
        """Every request is one for a role."""
        return self.instead if self.instead and len(self.given) >= self.keys else self.assume

    def assume(self, exchange: Exchange) -> None:
        """Give the next key."""
        life = self.lives[min(len(self.given), len(self.lives) - 1)]
        self.since = self.since or time.monotonic()
        self.given.append(f"ASIA{len(self.given) + 1}")
        exchange.give(session(self.given[-1], life))


def session(key: str, life: timedelta) -> Answer:
    """STS's answer with that key, which it says lives so long."""
    return an_answer(200, "text/xml", GIVEN.format(key=key, until=datetime.now(UTC) + life).encode())


@pytest.fixture
def sts(engine: Engine) -> Iterator[Sts]:
    """An STS of the test's own."""
    sts = Sts()
    with Proxy(engine.url, Random(0), sts.judge) as sts.line:  # noqa: S311 - nothing here goes by chance
        yield sts


@dataclass
class Ledger:
    """Which keys DynamoDB was asked with, and which it takes no more."""

    seen: list[str] = field(default_factory=list)
    over: set[str] = field(default_factory=set)

    def judge(self, asked: Asked) -> Toxic | None:
        """Keys whose time is up are refused as DynamoDB refuses them."""
        self.seen.append(asked.key)
        return expired_token if asked.key in self.over else None


@pytest.fixture
def ledger(proxy: Proxy) -> Ledger:
    """The keys that come along the line."""
    ledger = Ledger()
    proxy.judge = ledger.judge
    return ledger


@pytest.fixture
def gate(concourse: Concourse, store: DynamoStore, proxy: Proxy, sts: Sts) -> Callable[..., Running]:
    """Begins a get that waits for the decision on a claim, as the role unless the source says otherwise."""

    def begun(claim: Claim, build: int = 2, **source: object) -> Running:
        through = concourse.sourced(**({"endpoint_url": proxy.url, "role_arn": ROLE} | source))
        version = Version.of(claim).render()
        directory = through.workspace(build) / "gate"
        request = {"source": through.source, "params": {"need_approval": True}, "version": version}
        return through.start("in", request, [str(directory)], build, AWS_ENDPOINT_URL_STS=sts.line.url)

    return begun


def approve(store: DynamoStore, claim: Claim) -> None:
    """Approve as another person would."""
    reviews.review(store, claim.id, reviewer="typed:bob", verdict=Verdict.APPROVE)


def require_passed(store: DynamoStore, claim: Claim, result: Result) -> None:
    """The gate opened on the approval that is on record, and said nothing of what went on below."""
    assert result.code == 0, result.stderr
    assert [event.kind for event in store.events(POOL)] == [Kind.PENDING, Kind.APPROVED, Kind.PASSED]
    assert kept(store, {"id": claim.id}).approved
    assert "token" not in result.stderr
    tally.add(claims=1, lost=0, double=0, stuck=0)


def require_shut(store: DynamoStore, claim: Claim, result: Result, line: str) -> None:
    """The gate stayed shut with exactly one line after those of its wait, and the claim waits on for others."""
    assert line in result.refused()
    before = next(number for number, told in enumerate(result.lines) if "reject --id" in told)
    assert "set to what this resource's source says" in result.lines[before + 1]
    assert len(result.lines) == before + 3, result.stderr
    assert kept(store, {"id": claim.id}).state is State.PENDING
    assert held_by(store) == claim.id
    tally.add(claims=1, lost=0, double=0, stuck=0)


def test_a_gate_outlives_the_credentials_it_began_with(
    gate: Callable[..., Running], store: DynamoStore, sts: Sts, ledger: Ledger
) -> None:
    """A gate that waits longer than its role's session lives goes on with a new one, unnoticed."""
    sts.lives = [ADVISORY + timedelta(seconds=2), HOUR]
    claim = take(store, 1)
    waiting = gate(claim)
    waiting.says(WAITS)
    until(lambda: "ASIA2" in ledger.seen, "a request with the second key")
    ledger.over.add("ASIA1")
    assert ledger.seen.count("ASIA1") > 3
    approve(store, claim)
    require_passed(store, claim, waiting.ends())
    assert sts.given == ["ASIA1", "ASIA2"]


def test_credentials_of_a_few_seconds_are_renewed_all_the_time(
    gate: Callable[..., Running], store: DynamoStore, sts: Sts, ledger: Ledger
) -> None:
    """Sessions so short that each is about to end as soon as it is there carry a gate too."""
    sts.lives = [timedelta(seconds=4)]
    claim = take(store, 1)
    waiting = gate(claim)
    waiting.says(WAITS)
    until(lambda: len(set(ledger.seen)) > 5, "requests with many keys")
    ledger.over.update(sts.given[:3])
    approve(store, claim)
    require_passed(store, claim, waiting.ends())


def test_a_session_that_ends_before_its_time_is_renewed(
    gate: Callable[..., Running], store: DynamoStore, sts: Sts, ledger: Ledger
) -> None:
    """DynamoDB says that a session has run out, which by its stated end it should not have: the gate fetches another."""
    sts.lives = [HOUR]
    claim = take(store, 1)
    waiting = gate(claim)
    waiting.says(WAITS)
    ledger.over.add("ASIA1")
    until(lambda: "ASIA2" in ledger.seen or not waiting.running, "a request with the second key")
    approve(store, claim)
    require_passed(store, claim, waiting.ends())


def test_keys_that_run_out_and_cant_be_renewed_are_one_line(
    gate: Callable[..., Running], store: DynamoStore, ledger: Ledger
) -> None:
    """A token in the source whose time is up ends the wait with what to do about it."""
    claim = take(store, 1)
    waiting = gate(claim, role_arn=None, AWS_SESSION_TOKEN="token")
    waiting.says(WAITS)
    ledger.over.add("test")
    require_shut(store, claim, waiting.ends(), "the AWS session token has expired; give a new one, or a role")


@pytest.mark.long
def test_keys_that_may_assume_the_role_no_more_are_one_line(
    gate: Callable[..., Running], store: DynamoStore, sts: Sts, ledger: Ledger
) -> None:
    """A role that is taken away during the wait ends it with what AWS says about it, once its last session is over."""
    sts.lives = [MANDATORY + timedelta(seconds=2)]
    sts.instead = lambda exchange: exchange.give(an_answer(403, "text/xml", DENIED.encode()))
    claim = take(store, 1)
    waiting = gate(claim)
    waiting.says(WAITS)
    require_shut(store, claim, waiting.ends(), "its trust policy must name that caller")


@pytest.mark.long
def test_sessions_that_have_ended_when_they_are_given_are_sat_out(
    gate: Callable[..., Running], store: DynamoStore, sts: Sts, ledger: Ledger
) -> None:
    """An STS whose sessions are over at once, as a clock that is wrong makes them, is asked until one is good."""
    sts.lives = [MANDATORY + timedelta(seconds=2)]
    claim = take(store, 1)
    waiting = gate(claim)
    waiting.says(WAITS)
    over = 0

    def ended(exchange: Exchange) -> None:
        nonlocal over
        over += 1
        exchange.give(session("ASIA0", timedelta(seconds=-1)))

    sts.instead = ended
    until(lambda: over > 3 or not waiting.running, "some sessions that are over")
    sts.instead = None
    approve(store, claim)
    require_passed(store, claim, waiting.ends())
    assert "ASIA0" not in ledger.seen


@pytest.mark.long
@pytest.mark.parametrize("page", PAGES)
def test_a_page_in_the_place_of_sts_is_sat_out(
    page: bytes, gate: Callable[..., Running], store: DynamoStore, sts: Sts, ledger: Ledger
) -> None:
    """A proxy that answers 200 in STS's stead ends no wait: the role is asked for until STS is back."""
    sts.lives = [MANDATORY + timedelta(seconds=2), HOUR]
    sts.instead = lambda exchange: exchange.give(an_answer(200, "text/html", page))
    claim = take(store, 1)
    waiting = gate(claim)
    waiting.says(WAITS)
    until(lambda: time.monotonic() > sts.since + 3 or not waiting.running, "the end of the first session")
    sts.instead = None
    until(lambda: "ASIA2" in ledger.seen or not waiting.running, "a request with the second key")
    approve(store, claim)
    require_passed(store, claim, waiting.ends())


@pytest.mark.long
def test_an_outage_of_sts_is_sat_out_and_told_once(
    gate: Callable[..., Running], store: DynamoStore, sts: Sts, ledger: Ledger
) -> None:
    """A gate whose session ends while STS is away says so once, and goes on with a new session when STS is back."""
    sts.lives = [MANDATORY + timedelta(seconds=2), HOUR]
    sts.instead = lambda exchange: exchange.hang_up()
    claim = take(store, 1)
    waiting = gate(claim)
    waiting.says(WAITS)
    with sts.line.outage():
        told = waiting.says(AWAY)
        assert sts.line.url in told
        time.sleep(25)
    sts.instead = None
    waiting.says(BACK)
    assert ledger.seen[-1] == "ASIA2"
    approve(store, claim)
    result = waiting.ends()
    require_passed(store, claim, result)
    assert result.stderr.count(AWAY) == result.stderr.count(BACK) == 1


# ---- reviewers -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Account(Engine):
    """The engine as those see it who have a role by a profile, and an STS."""

    sts: str = ""
    config: str = os.devnull

    def environment(self, table: str = "") -> dict[str, str]:
        """The engine's, with STS and the profile."""
        profile = {"AWS_PROFILE": "reviewer"} if self.config != os.devnull else {}
        given = Engine.environment(self, table)
        return given | {"AWS_ENDPOINT_URL_STS": self.sts, "AWS_CONFIG_FILE": self.config} | profile


PROFILE = f"[profile reviewer]\nrole_arn = {ROLE}\ncredential_source = Environment\n"


def test_a_reviewer_whose_role_is_refused_reads_lines_only(concourse: Concourse, store: DynamoStore, sts: Sts) -> None:
    """A profile's role that may not be assumed is told in a line, and nothing is decided."""
    sts.keys, sts.instead = 0, lambda exchange: exchange.give(an_answer(403, "text/xml", DENIED.encode()))
    config = concourse.scratch / "config"
    config.write_text(PROFILE)
    claim = take(store, 1)
    reviewer = replace(concourse, engine=Account(concourse.engine.url, 0, sts.line.url, str(config)))
    refused = reviewer.cli("approve", "--id", claim.id)
    assert "AWS could not be asked who you are" in refused.refused()
    assert kept(store, {"id": claim.id}).state is State.PENDING


@pytest.mark.parametrize("page", PAGES)
def test_a_reviewer_whom_sts_does_not_know_is_a_typed_name(
    page: bytes, concourse: Concourse, store: DynamoStore, sts: Sts
) -> None:
    """Where a page stands in STS's place the decision is recorded under the name that was typed, and that is said."""
    sts.keys, sts.instead = 0, lambda exchange: exchange.give(an_answer(200, "text/html", page))
    claim = take(store, 1)
    reviewer = replace(concourse, engine=Account(concourse.engine.url, 0, sts.line.url))
    assert "give --reviewer NAME" in reviewer.cli("approve", "--id", claim.id).refused()
    approved = reviewer.cli("approve", "--id", claim.id, "--reviewer", "alice")
    assert approved.code == 0, approved.stderr
    assert "recorded is a typed name" in approved.stderr
    decided = kept(store, {"id": claim.id}).decided
    assert decided is not None
    assert decided.actor == "typed:alice"
