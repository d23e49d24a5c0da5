"""What a person sees on a terminal: tables that fit it, whatever its width and whatever others wrote."""

from __future__ import annotations

import random
import signal
import subprocess
import unicodedata
from typing import Any

import click
import pytest
from wcwidth import wcswidth

from approval_resource.claims import review as reviews
from approval_resource.claims.end import end_claim
from approval_resource.commands import screen
from approval_resource.model.claim import Verdict
from approval_resource.model.event import State
from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import FrozenTime, a_claim, under
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
    """Short id, lock, what, state, age, and what it needs; what waits for nobody comes after."""
    seen = terminal("list", columns=110)
    header, _, *rows = seen.lines
    assert header.split() == ["id", "lock", "what", "state", "age", "left", "needs"]
    assert [row.split()[0] for row in rows] == [C[:8], B[:8], A[:8]]
    assert rows[0].split()[1:7] == ["staging", "main/app/deploy", "#3:", "a", "plan", "pending"]
    assert rows[0].endswith("1 approval, by anyone")
    assert rows[1].endswith("2 approvals")
    assert "held" in rows[2]


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize("command", [("list",), ("list", "--all"), ("show", B), ("history", "--pool", POOL), ("unblock", B)])
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
    shown = screen.claims_table(claims, time.at, needs, fresh=frozenset(claim.id for claim in claims[:2]))
    shown += "\n" + screen.claim_details(claims[0], time.at, chance.choice(TEXTS))
    lines = [click.unstyle(line).rstrip() for line in shown.splitlines()]
    assert fits(lines, columns) == []
    assert {c for line in lines for c in line if unicodedata.category(c) in ("Cc", "Zl", "Zp")} == set()


def test_columns_go_by_importance_where_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The id stays to the last, then lock, state and needs."""
    monkeypatch.setattr(screen, "width", lambda: 45)
    header = screen.claims_table([a_claim(lock_name="x" * 30)], FrozenTime().at, {a_claim().id: "y" * 40}).splitlines()[0]
    assert header.split() == ["id", "lock", "state", "needs"]


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


# ---- piped, or asked for: as it was ------------------------------------------------------


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize("command", [("list",), ("show", B), ("history", "--pool", POOL), ("unblock", B)])
def test_the_original_is_what_is_piped(terminal: Terminal, run: Run, command: tuple[str, ...]) -> None:
    """To the character, however wide; only the times that go on differ."""
    piped, asked = run(*command), terminal(*command, "--original", columns=60)
    assert asked.screen == piped.stdout


def test_a_wide_character_counts_as_one_where_output_is_piped(store: DynamoStore, run: Run) -> None:
    """As the original counts, which programs may have relied on."""
    claim_of(store, A, description="発布")
    header, _, row = run("list").stdout.splitlines()
    assert header.index("id  ") == row.index(A)


# ---- watch ------------------------------------------------------------------------------


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
    assert seen.code == 1
    assert seen.raw.count("\x1b[2J") >= 2
    first, last = seen.raw.split("\x1b[2J")[1], seen.raw.split("\x1b[2J")[-1]
    assert f"cli.py list: table {store._table}" in first
    assert " new" not in first
    assert f"{A[:8]} new" not in last


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
