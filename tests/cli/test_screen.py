"""What a person sees on a terminal: tables that fit it, whatever its width and whatever others wrote."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import pytest
from wcwidth import wcswidth

from approval_resource.claims import review as reviews
from approval_resource.claims.decide import decide, facts_of, policies_of
from approval_resource.claims.end import end_claim
from approval_resource.commands import screen
from approval_resource.commands.listing import Listing
from approval_resource.model.claim import Review, Verdict
from approval_resource.model.event import State
from approval_resource.policy import needs
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from demo.engine import Engine
from tests.builders import FrozenTime, a_build, a_claim, a_review, under
from tests.cli.conftest import POOL, Run, Terminal, claim_of, refused
from tests.cli.test_queue import wait

A, B, C = (f"{number}0000000-aaaa-4aaa-8aaa-aaaaaaaaaaaa" for number in (1, 2, 3))
WIDTHS = [40, 60, 80, 100, 200]
TEXTS = [
    "release 3.2",
    "",
    "発布 三・二 " * 12,
    "x" * 300,
    "words " * 60,
    "é\u0301\u200d👩\u200d🚀" * 10,
    "a\x1b[31mred\x1b]0;t\x07\x9b2J\u202e\r\nx",
]


def fits(lines: list[str], columns: int) -> list[str]:
    """The lines that are wider than the terminal."""
    return [line for line in lines if wcswidth(line) > columns or wcswidth(line) < 0]


@pytest.fixture
def busy(store: DynamoStore) -> DynamoStore:
    """Three claims: one held, and two that wait, the older under a policy."""
    claim_of(store, A, lock_name="docs", need_approval=False)
    claim_of(store, B, number=2, lock_name="production", description="release 3.2", terms=under(required_approvals=2))
    claim_of(store, C, number=3, lock_name="staging", description="a plan")
    return store


@pytest.mark.usefixtures("busy")
def test_the_list_shows_what_waits_first_newest_first(terminal: Terminal) -> None:
    """Short id, lock, what, state, age, what it needs, and whether of you; what waits for nobody comes after."""
    seen = terminal("list", columns=110)
    header, _, *rows = seen.lines
    assert header.split() == ["id", "lock", "what", "state", "age", "left", "needs", "you"]
    assert [row.split()[0] for row in rows[:3]] == [C[:8], B[:8], A[:8]]
    assert rows[0].split()[1:7] == ["staging", "main/app/deploy", "#3:", "a", "plan", "pending"]
    assert rows[0].endswith("1 approval, by anyone  yes")
    assert rows[1].split()[-3:] == ["2", "approvals", "yes"]
    assert "held" in rows[2]
    assert rows[3:] == ["2 of these wait for you, typed:ana"]


@pytest.fixture
def queued(busy: DynamoStore, connect: Callable[..., DynamoStore]) -> DynamoStore:
    """The same, and two builds that have waited for another lock for some days."""
    time = FrozenTime(datetime.now(UTC) - timedelta(days=2, hours=12, minutes=30))
    since = connect(time)
    claim_of(since, number=4, description="held for days")
    wait(since, 5)
    wait(since, 6, priority=7)
    return busy


@pytest.mark.usefixtures("queued")
@pytest.mark.parametrize(
    "command",
    [("list",), ("list", "--all"), ("list", "--waiting"), ("show", B), ("history", "--pool", POOL), ("unblock", B)],
)
@pytest.mark.parametrize("columns", [40, 80])
def test_a_screen_is_never_wider_than_its_terminal(terminal: Terminal, command: tuple[str, ...], columns: int) -> None:
    """Each of them, on a narrow one too."""
    seen = terminal(*command, columns=columns)
    assert (seen.code, fits(seen.lines, columns)) == (0, [])
    assert seen.lines


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("seed", range(8))
def test_whatever_others_wrote_fits(monkeypatch: pytest.MonkeyPatch, columns: int, seed: int) -> None:
    """Wide characters, long words and control characters, in every place that others fill."""
    monkeypatch.setattr(screen, "width", lambda: columns)
    chance = random.Random(seed)  # noqa: S311 - texts, not secrets
    time = FrozenTime()
    claims = [
        a_claim(
            id=f"{number}0000000-aaaa-4aaa-8aaa-aaaaaaaaaaaa",
            lock_name=chance.choice(TEXTS) or "lock",
            description=chance.choice(TEXTS),
            pool=chance.choice(["payments", chance.choice(TEXTS) or "p"]),
            state=chance.choice(list(State)),
        )
        for number in range(1, 6)
    ]
    needs = {claim.id: chance.choice(TEXTS) for claim in claims}
    marks = {claims[0].id: "new", claims[1].id: "changed"}
    yours = {claim.id for claim in claims if chance.random() < 0.5}
    shown = screen.claims_table(claims, time.at, needs, yours=yours, marks=marks)
    shown += "\n" + screen.claim_details(claims[0], time.at, chance.choice(TEXTS))
    lines = [click.unstyle(line).rstrip() for line in shown.splitlines()]
    assert fits(lines, columns) == []
    assert {c for line in lines for c in line if unicodedata.category(c) in ("Cc", "Zl", "Zp")} == set()


def test_columns_go_by_importance_where_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The id stays to the last, then lock, state and needs."""
    monkeypatch.setattr(screen, "width", lambda: 45)
    header = screen.claims_table([a_claim(lock_name="x" * 30)], FrozenTime().at, {a_claim().id: "y" * 40}).splitlines()[0]
    assert header.split() == ["id", "lock", "state", "needs"]


def test_an_empty_column_goes_before_text_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A screen on which all fits stays as it is."""
    for columns, left in ((110, True), (75, False)):
        monkeypatch.setattr(screen, "width", lambda columns=columns: columns)
        header, _, *rows = screen.claims_table([a_claim(description="release 3.2")], FrozenTime().at, {}).splitlines()
        assert ("left" in header, len(rows)) == (left, 1)


# ---- colours --------------------------------------------------------------------------


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize(
    ("arguments", "variables", "coloured"),
    [
        ((), {}, True),
        ((), {"NO_COLOR": "1"}, False),
        (("--color", "never"), {}, False),
        (("--color", "always"), {"NO_COLOR": "1"}, True),
        (("--original",), {}, False),
        (("--format", "json"), {}, False),
    ],
)
def test_states_are_coloured_unless_somebody_minds(
    terminal: Terminal, arguments: tuple[str, ...], variables: dict[str, str], coloured: bool
) -> None:
    """NO_COLOR, --color, and what programs read."""
    assert ("\x1b[" in terminal("list", *arguments, **variables).raw) is coloured


def test_states_have_colours_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits, what is held, what may go on, and what came to nothing, in the lists and in the history."""
    monkeypatch.setattr(screen, "width", lambda: 200)
    states = [State.PENDING, State.HELD, State.APPROVED, State.REJECTED]
    claims = [a_claim(id=f"{number}0000000-aaaa-4aaa-8aaa-aaaaaaaaaaaa", state=state) for number, state in enumerate(states)]
    table = screen.claims_table(claims, FrozenTime().at, {})
    seen = re.findall(r"\x1b\[(\d+)m(?:\x1b\[\d+m)?(pending|held|approved|rejected)", table)
    assert sorted(state for _, state in seen) == sorted(state.value for state in states), table
    assert len({colour for colour, _ in seen}) == len(states), table


# ---- piped, or asked for: as it was ------------------------------------------------------


@pytest.mark.usefixtures("queued")
@pytest.mark.parametrize(
    "command", [("list",), ("list", "--waiting"), ("show", B), ("history", "--pool", POOL), ("unblock", B)]
)
def test_the_original_is_what_is_piped(terminal: Terminal, run: Run, command: tuple[str, ...]) -> None:
    """To the character, however wide; only the times that go on differ."""
    piped, asked = run(*command), terminal(*command, "--original", columns=60)
    assert asked.screen == piped.stdout


def test_a_wide_character_counts_as_one_where_output_is_piped(store: DynamoStore, run: Run) -> None:
    """As the original counts, which programs may have relied on."""
    claim_of(store, A, description="発布")
    header, _, row = run("list").stdout.splitlines()
    assert header.index("id  ") == row.index(A)


# ---- whom it waits for --------------------------------------------------------------------

ROOT_ARN = "aws:arn:aws:iam::000000000000:root"
"""The engine's STS knows every caller as this."""
GROUPS: dict[str, Any] = {
    "people": {"anna": [ROOT_ARN, "anna"], "ben": ["aws:ben"]},
    "groups": {"sec": ["ben"], "ops": ["anna"]},
}


def approved(*identities: str) -> list[Review]:
    """Their approvals."""
    return [a_review(identity, Verdict.APPROVE, FrozenTime().at) for identity in identities]


@pytest.mark.parametrize(
    ("policies", "reviews", "requester", "waits"),
    [
        ([{"required_approvals": 2}], [], "carl", True),
        ([{"required_approvals": 2}], ["aws:ben"], "carl", True),
        ([{"required_approvals": 2, **GROUPS}], [ROOT_ARN], "carl", False),
        ([{"required_approvals": 1, "allow_self_approval": False, **GROUPS}], [], "anna", False),
        ([{"required_approvals": 1, "allow_self_approval": False, **GROUPS}], [], "carl", True),
        ([{"approval_rules": [{"group": "sec"}], **GROUPS}], [], "carl", False),
        ([{"approval_rules": [{"group": "ops"}], **GROUPS}], [], "carl", True),
        ([{"approval_rules": [{"group": "sec"}, {"group": "ops"}], **GROUPS}], ["aws:ben"], "carl", True),
        ([{"approval_rules": [{"group": "sec"}, {"user": "ben"}], **GROUPS}], [], "carl", False),
        ([{"required_approvals": 1}, {"approval_rules": [{"group": "sec"}], **GROUPS}], [], "carl", True),
        ([{"required_approvals": 1}, {"approval_rules": [{"group": "sec"}], **GROUPS}], ["aws:eve"], "carl", False),
        ([{"required_approvals": 1, "not_before": "1h"}], ["aws:ben"], "carl", False),
        ([{"required_approvals": 1, "not_before": "1h"}], [], "carl", True),
        ([{"not_before": "1h"}], [], "carl", True),
        ([{"not_before": "1h"}], ["aws:ben"], "carl", False),
        ([{"rego": 'package spacelift\napprove { input.reviews.current.approvals[_].author == "ben" }'}], [], "carl", True),
        ([{"conditions": {"all": [{"fact": "no.such", "equals": 1}]}}], [], "carl", True),
    ],
)
def test_a_claim_waits_for_whom_a_policy_lacks_and_may_count(
    policies: list[dict[str, Any]], reviews: list[str], requester: str, *, waits: bool
) -> None:
    """Not for those who approved, who asked, whom no rule names, or where others or time alone are missing."""
    terms = under(*policies)
    claim = replace(
        a_claim(state=State.PENDING, build=a_build(1, created_by=requester)),
        reviews={one.reviewer: one for one in approved(*reviews)},
    )
    loaded, facts = policies_of(terms, ""), facts_of(claim, terms)
    decision = decide(claim, terms, "", FrozenTime().at)
    [trial] = approved(ROOT_ARN)
    assert needs.waits_for(loaded, facts, [*claim.reviews.values()], decision, trial) is waits


@pytest.fixture
def desk(store: DynamoStore) -> DynamoStore:
    """Two claims: the older one waits for anna, the newer for ben alone."""
    claim_of(store, A, terms=under(approval_rules=[{"group": "ops"}], **GROUPS))
    claim_of(store, B, number=2, lock_name="docs", terms=under(approval_rules=[{"group": "sec"}], **GROUPS))
    return store


@pytest.mark.usefixtures("desk")
def test_what_waits_for_you_comes_first_and_is_marked(terminal: Terminal, engine: Engine) -> None:
    """The caller is who STS says; a typed name satisfies no rule, so nothing waits for it."""
    seen = terminal("list", columns=110, AWS_ENDPOINT_URL_STS=engine.url)
    assert [line.split()[0] for line in seen.lines[2:4]] == [A[:8], B[:8]]
    assert [line.endswith("yes") for line in seen.lines[2:4]] == [True, False]
    assert seen.lines[4:] == [f"1 of these waits for you, {ROOT_ARN}"]
    typed = terminal("list", "--reviewer", "anna", columns=110)
    assert [line.split()[0] for line in typed.lines[2:]] == [B[:8], A[:8]]
    assert "you" not in typed.lines[0].split()


@pytest.mark.usefixtures("desk")
def test_a_list_whose_reader_is_unknown_is_a_list_all_the_same(terminal: Terminal) -> None:
    """Nothing is marked, and a line says why."""
    seen = terminal("list", columns=110, AWS_ENDPOINT_URL_STS="http://127.0.0.1:9")
    assert seen.code == 0
    assert [line.split()[0] for line in seen.lines[2:4]] == [B[:8], A[:8]]
    assert seen.said.count("None is marked as yours: AWS could not be asked who you are") == 1


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize("words", [(), ("--wide",), ("--format", "json"), ("--original",)])
def test_a_list_for_programs_asks_nobody_who_calls(run: Run, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    """No call of STS, and no policy evaluated or even read."""
    if "--original" in words:
        monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)

    def asked(*_: object) -> str:
        raise AssertionError("somebody was asked")

    monkeypatch.setattr("approval_resource.commands.shared.caller_arn", asked)
    monkeypatch.setattr("approval_resource.claims.decide.outlook", asked)
    monkeypatch.setattr(DynamoStore, "settings", asked)
    monkeypatch.setattr(DynamoStore, "content", asked)
    assert run("list", *words).exit_code == 0


# ---- watch ------------------------------------------------------------------------------


@pytest.mark.long
def test_watch_redraws_one_screen_and_marks_what_is_new(store: DynamoStore, terminal: Terminal) -> None:
    """A header with table and time, the screen cleared before each look, and what came since the last marked."""
    claim_of(store, A)
    done: list[str] = []

    def watcher(text: str, program: subprocess.Popen[bytes]) -> None:
        if A[:8] in text and not done:
            done.append(claim_of(store, B, number=2, lock_name="docs").id)
        if f"{B[:8]} new" in text and len(done) == 1:
            done.append("stopped")
            program.send_signal(signal.SIGINT)

    seen = terminal("list", "--watch", watcher=watcher, **{"NO_COLOR": "1"})
    assert seen.code == 130
    assert seen.raw.count("\x1b[2J") >= 2
    first, last = seen.raw.split("\x1b[2J")[1], seen.raw.split("\x1b[2J")[-1]
    assert f"cli.py list: table {store._table}" in first
    assert " new" not in first
    assert f"{A[:8]} new" not in last


def test_watch_marks_what_changed_and_tells_what_ended(
    store: DynamoStore, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look compares with the one before it, whole claims, and forgets older marks."""
    monkeypatch.setattr(screen, "width", lambda: 120)
    listing = Listing(store, connection, "ana")
    first = [claim_of(store, A), claim_of(store, B, number=2, lock_name="docs")]
    assert "changed" not in listing.look(first)
    reviews.review(store, A, reviewer="typed:bob", verdict=Verdict.APPROVE)
    reviews.review(store, B, reviewer="typed:bob", verdict=Verdict.REJECT)
    new = claim_of(store, C, number=3, lock_name="l3")
    second = click.unstyle(listing.look(store.open_claims(None)))
    assert f"{A[:8]} changed" in second
    assert f"{new.id[:8]} new" in second
    assert f"Ended since the last look: docs ({B[:8]})" in second
    third = click.unstyle(listing.look(store.open_claims(None)))
    assert not {"changed", "new", "Ended"} & set(third.split())


def test_watch_stays_on_one_screen(store: DynamoStore, terminal: Terminal) -> None:
    """A long list is cut to the terminal's height, and says how much more there is."""
    for number in range(12):
        claim_of(store, number=number, lock_name=f"l{number}")

    def watcher(text: str, program: subprocess.Popen[bytes]) -> None:
        if "more lines" in text:
            program.send_signal(signal.SIGINT)

    seen = terminal("list", "--watch", rows=10, columns=120, watcher=watcher)
    looks = seen.screen.split("\x1b[2J")
    assert "more lines" in looks[1]
    assert len(looks[1].strip().splitlines()) <= 10


# ---- the other tables --------------------------------------------------------------------


def test_the_queue_is_a_table_too(store: DynamoStore, terminal: Terminal) -> None:
    """Lock, place, build, for how long, and who holds it."""
    held = claim_of(store, number=1)
    wait(store, 2)
    header, _, row = terminal("list", "--waiting", columns=100).lines
    assert header.split() == ["lock", "place", "build", "waits", "priority", "held", "by"]
    assert row.split()[:4] == ["payments/deploy", "1", "main/app/deploy", "#2"]
    assert held.id[:8] in row


def test_show_says_what_a_person_asks(store: DynamoStore, terminal: Terminal) -> None:
    """What, whose, since when, what it needs, and what its policies make of it."""
    claim_of(store, A, description="release 3.2", build={"created_by": "ben"}, terms=under(required_approvals=2))
    reviews.review(store, A, reviewer="typed:ana", verdict=Verdict.APPROVE, comment="fine")
    told = dict(line.split(maxsplit=1) for line in terminal("show", A[:8], columns=100).lines if line and " " in line)
    assert told["what"] == "release 3.2"
    assert told["needs"] == "1 more approval"
    assert told["state"] == "pending"
    assert told["claim"] == A


# ---- short ids of what has ended ------------------------------------------------------------


@pytest.fixture
def ended(store: DynamoStore) -> DynamoStore:
    """A claim that was released."""
    claim_of(store, A, need_approval=False)
    end_claim(store, store.claims([A])[0], State.RELEASED, actor="typed:bob")
    return store


@pytest.mark.usefixtures("ended")
def test_a_short_id_finds_a_claim_that_has_ended(run: Run) -> None:
    """To look at it; to decide on it, it is no open one."""
    assert A in run("show", A[:8]).stdout
    assert "released" in run("history", "--id", A[:8]).stdout
    refused(run("approve", A[:8]), "no open claim's id begins with")
    refused(run("show", B[:8]), f"no claim's id begins with {B[:8]}")


def test_an_open_claim_goes_before_an_ended_one(ended: DynamoStore, run: Run) -> None:
    """The shorter search is enough where it finds one."""
    open_one = A.replace("aaaa", "bbbb")
    claim_of(ended, open_one, number=2, lock_name="other")
    assert open_one in run("show", A[:8]).stdout


def test_two_ended_claims_with_one_beginning_are_told(ended: DynamoStore, run: Run) -> None:
    """Neither is shown."""
    twin = A.replace("aaaa", "bbbb")
    claim: Any = claim_of(ended, twin, number=2, lock_name="other", need_approval=False)
    end_claim(ended, claim, State.RELEASED, actor="typed:bob")
    refused(run("show", A[:8]), "2 claims' ids begin with")
