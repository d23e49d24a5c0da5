"""Answers for auditors: history by time, person and event, receipts, and a report whose every line has its proof."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from approval_resource import pools
from approval_resource.claims import review as reviews
from approval_resource.claims.end import end_claim, force_release
from approval_resource.model.claim import Verdict
from approval_resource.model.event import State
from approval_resource.store.dynamodb import keys
from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import FrozenTime, under
from tests.cli.conftest import POOL, Run, claim_of, refused

A, B, C, D = (f"{number}0000000-aaaa-4aaa-8aaa-aaaaaaaaaaaa" for number in (1, 2, 3, 4))
THURSDAY = datetime(2026, 11, 19, 9, 0, tzinfo=UTC)
POLICY = {"name": "two-people", "required_approvals": 2}
HOSTILE = "<script>alert(1)</script>\x1b[2J\n=HYPERLINK(1)"


@pytest.fixture
def week(connect: Callable[..., DynamoStore]) -> DynamoStore:
    """Thursday a rejection; Friday an approval by two under a policy, and a forced release; Saturday another lock."""
    time = FrozenTime(THURSDAY)
    store = connect(time)
    claim_of(store, A, lock_name="production", description="release 1.4")
    reviews.review(store, A, reviewer="aws:ana", verdict=Verdict.REJECT, comment="not today")
    time.at = THURSDAY + timedelta(days=1)
    claim_of(
        store, B, number=2, lock_name="production", description="release 1.5", terms=under(POLICY), build={"created_by": "ed"}
    )
    reviews.review(store, B, reviewer="aws:ben", verdict=Verdict.APPROVE, comment="fine")
    reviews.review(store, B, reviewer="aws:ana", verdict=Verdict.APPROVE, comment="go")
    end_claim(store, store.claims([B])[0], State.RELEASED, actor="aws:ana")
    time.tick(hours=1)
    held = claim_of(store, C, number=3, lock_name="production", need_approval=False)
    force_release(store, held, actor="aws:ops", reason="its worker died")
    time.at = THURSDAY + timedelta(days=2)
    claim_of(store, D, number=4, lock_name="docs", description=HOSTILE)
    reviews.review(store, D, reviewer="aws:ben", verdict=Verdict.APPROVE, comment=HOSTILE)
    return store


def told(run: Run, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    """The report's decisions as JSON."""
    ran = run("audit", "report", "--pool", POOL, *arguments, "--format", "json")
    assert ran.exit_code == code, ran.output
    found: list[dict[str, Any]] = json.loads(ran.stdout)
    return found


# ---- who approved production on Friday, under which policy, and was it altered? -----------


@pytest.mark.usefixtures("week")
def test_one_command_answers_the_auditor_s_question(run: Run) -> None:
    """Who, when, on what, under which policy with its text, and that it is proven."""
    friday = ("--lock", "production", "--since", "2026-11-20", "--until", "2026-11-20")
    text = run("audit", "report", "--pool", POOL, *friday).stdout
    for words in (
        "Friday 2026-11-20 09:00:00 UTC  production: approved by aws:ana",
        "on: main/app/deploy #2: release 1.5",
        "asked by: ed",
        "review: approve by aws:ben, Friday 2026-11-20 09:00:00 UTC: fine",
        "required_approvals: 2",
        "proof: verified",
        "released (forced) by aws:ops",
        "nothing altered, dropped or reordered",
    ):
        assert words in text, text
    assert "release 1.4" not in text
    assert "docs" not in text


@pytest.mark.usefixtures("week")
def test_programs_get_the_same(run: Run) -> None:
    """Each decision with its policies as documents, and the entry of the log that proves it."""
    first, second, forced, last = told(run)
    assert [(one["decision"], one["lock_name"], one["claim"]) for one in (first, second, forced, last)] == [
        ("rejected", "production", A),
        ("approved", "production", B),
        ("released", "production", C),
        ("approved", "docs", D),
    ]
    assert second["policies"][0]["required_approvals"] == 2
    assert (second["requester"], second["decided_by"], second["reason"]) == ("ed", "aws:ana", "go")
    assert [one["reviewer"] for one in second["reviews"]] == ["aws:ana", "aws:ben"]
    assert (forced["forced"], forced["reason"]) == (True, "its worker died")
    assert all(one["verified"] and not one["faults"] for one in (first, second, forced, last))


@pytest.mark.usefixtures("week")
@pytest.mark.parametrize(
    ("narrow", "found"),
    [
        (("--lock", "docs"), [D]),
        (("--since", "2026-11-20"), [B, C, D]),
        (("--since", "2026-11-20T09:30:00Z"), [C, D]),
        (("--until", "2026-11-20"), [A, B, C]),
        (("--until", "2026-11-20T09:30:00+00:00"), [A, B]),
        (("--since", "1h"), []),
    ],
)
def test_the_report_can_be_narrowed(run: Run, narrow: tuple[str, ...], found: list[str]) -> None:
    """To a lock, and by days, instants and how long ago."""
    assert [one["claim"] for one in told(run, *narrow)] == found


def test_a_time_that_is_none_is_refused(week: DynamoStore, run: Run) -> None:
    """The line says what would do."""
    ran = run("audit", "report", "--pool", POOL, "--since", "friday")
    assert ran.exit_code == 3
    assert '--since: "friday" is no day such as' in ran.stderr
    refused(run("history", "--pool", POOL, "--since", "friday"), "--since", "no day such as")


ZOE = "aws:arn:aws:iam::123456789012:user/zoe"


@pytest.fixture
def friday(connect: Callable[..., DynamoStore]) -> DynamoStore:
    """An approval under the put's policy and the pool's, by reviews of which two count and three don't."""
    time = FrozenTime(THURSDAY)
    store = connect(time)
    pools.set_policy(
        store, POOL, json.dumps([{"name": "everybody", "required_approvals": 1, "allow_self_approval": False}]), actor="aws:ops"
    )
    own = {"name": "sec and ops", "allow_self_approval": False, "groups": {"sec": ["aws:ben"], "ops": ["aws:ana"]}}
    rules = [{"group": "sec"}, {"group": "ops"}]
    claim_of(store, B, lock_name="production", terms=under({**own, "approval_rules": rules}), build={"created_by": "zoe"})
    for who in ("typed:joe", ZOE, "aws:eve", "aws:ben", "aws:ana"):
        time.tick(minutes=1)
        reviews.review(store, B, reviewer=who, verdict=Verdict.APPROVE, comment="go")
    return store


WHO_COUNTED = [
    ("typed:joe", "didn't count: is only a typed name, which may belong to zoe, who asked for this claim"),
    (ZOE, "didn't count: asked for this claim"),
    ("aws:eve", "counted"),
    ("aws:ben", "counted"),
    ("aws:ana", "counted"),
]
"""In the order of time. Eve counts for the pool's policy alone."""


@pytest.mark.usefixtures("friday")
@pytest.mark.parametrize("form", ["text", "html", "csv"])
def test_each_form_says_whose_review_counted_and_whose_policy_it_was(run: Run, form: str) -> None:
    """Reviews by time, then the put's policy and the pool's, each with its text, and the proof."""
    raw = run("audit", "report", "--pool", POOL, "--format", form).stdout
    page = Outline()
    page.feed(raw)
    text = "".join(page.text) if form == "html" else raw
    places = [text.find(f"approve by {who}") for who, _ in WHO_COUNTED]
    assert -1 not in places
    assert places == sorted(places)
    for (_, told_), start in zip(WHO_COUNTED, places, strict=True):
        assert f"({told_})" in text[start:].split("\n", 1)[0]
    assert -1 < text.find("the put's") < text.find("sec and ops") < text.find("the pool's") < text.find("everybody")
    assert "verified" in text or "true" in text


@pytest.mark.usefixtures("friday")
def test_programs_are_told_whose_review_counted_and_whose_policy_it_was(run: Run) -> None:
    """The keys of before stay."""
    (one,) = told(run)
    assert [(review["reviewer"], review["counted"]) for review in one["reviews"]] == [
        (who, why == "counted") for who, why in WHO_COUNTED
    ]
    assert [document["name"] for document in one["policies"]] == ["sec and ops", "everybody"]
    assert [document["name"] for document in one["put_policies"]] == ["sec and ops"]
    assert [document["name"] for document in one["pool_policies"]] == ["everybody"]


@pytest.mark.usefixtures("week")
def test_rejections_are_told_to_have_counted_too(run: Run) -> None:
    """If nobody set a policy, anybody's; the report says that nobody did."""
    text = run("audit", "report", "--pool", POOL, "--until", "2026-11-19").stdout
    assert "reject by aws:ana, Thursday 2026-11-19 09:00:00 UTC: not today (counted)" in text
    assert "policy: none was set; the default applied\n    one approval by anyone; one rejection ends it\n" in text


# ---- proof ---------------------------------------------------------------------------


def alter(wire: Any, store: DynamoStore, key: Any, **changes: str) -> None:
    """Overwrite attributes of an item by hand."""
    for name, value in changes.items():
        wire.update_item(
            TableName=store._table,
            Key=key,
            UpdateExpression="SET #name = :value",
            ExpressionAttributeNames={"#name": name},
            ExpressionAttributeValues={":value": {"S": value}},
        )


def test_an_altered_claim_is_told_beside_it_alone(week: DynamoStore, wire: Any, run: Run) -> None:
    """The other decisions stay proven; the exit code says that one isn't."""
    alter(wire, week, keys.claim_key(B), description="release 9.9")
    decisions = told(run, code=1)
    assert [one["verified"] for one in decisions] == [True, False, True, True]
    assert f"claim {B} of lock production was altered" in " ".join(decisions[1]["faults"])


def test_each_fault_is_a_line_of_its_own(week: DynamoStore, wire: Any, run: Run) -> None:
    """In text below NOT VERIFIED; in the page a list; a finding about no decision is told at the end."""
    alter(wire, week, keys.claim_key(B), description="release 9.9")
    alter(wire, week, keys.claim_key(C), description="release 9.9")
    faults = [line.strip() for line in told_of(run, "--since", "2026-11-20T08:00:00Z", "--until", "2026-11-20T09:30:00Z")]
    assert len(faults) > 2
    assert all("; claim " not in fault and fault.count(" was altered") <= 1 for fault in faults)
    assert faults[0].startswith(f"claim {B} of lock production was altered")
    assert faults[-1].startswith(f"NOT VERIFIED: claim {C} of lock production was altered")
    page = run("audit", "report", "--pool", POOL, "--format", "html").stdout
    assert page.count("<li>claim ") >= 2


def told_of(run: Run, *narrow: str) -> list[str]:
    """The lines that follow NOT VERIFIED, and those after the summary."""
    lines = run("audit", "report", "--pool", POOL, *narrow).stdout.splitlines()
    first = lines.index("  proof: NOT VERIFIED") + 1
    end = lines.index("", first)
    return [*lines[first:end], *(line for line in lines[end:] if line.startswith("  "))]


@pytest.mark.long
def test_an_altered_policy_is_no_proof(week: DynamoStore, wire: Any, run: Run) -> None:
    """What is kept beside the claim must be what it was decided by."""
    from approval_resource.store.dynamodb import items

    wire.put_item(TableName=week._table, Item=items.content_item(B, "policy", b'[{"name":"none","required_approvals":1}]'))
    decisions = told(run, code=1)
    assert [one["verified"] for one in decisions] == [True, False, True, True]


@pytest.mark.parametrize("how", ["altered", "dropped"])
def test_an_altered_log_proves_nothing(week: DynamoStore, wire: Any, run: Run, how: str) -> None:
    """A fault in the chain is a fault of all that hangs on it."""
    first = next(iter(week.events(POOL)))
    if how == "altered":
        alter(wire, week, keys.event_key(POOL, first.timestamp), actor="somebody else")
    else:
        wire.delete_item(TableName=week._table, Key=keys.event_key(POOL, first.timestamp))
    ran = run("audit", "report", "--pool", POOL)
    assert ran.exit_code == 1
    assert ran.stdout.count("proof: NOT VERIFIED") == 4
    assert "proof: verified" not in ran.stdout


def test_an_approval_written_by_hand_is_not_verified(week: DynamoStore, wire: Any, run: Run) -> None:
    """A claim that was made approved without its reviews is what the report is for."""
    claim = week.claims([D])[0]
    wire.update_item(
        TableName=week._table,
        Key=keys.claim_key(D),
        UpdateExpression="SET #name = :value",
        ExpressionAttributeNames={"#name": "reviews"},
        ExpressionAttributeValues={":value": {"M": {}}},
    )
    assert claim.reviews
    assert [one["verified"] for one in told(run, "--lock", "docs", code=1)] == [False]


def test_what_is_gone_by_age_is_told_so(connect: Callable[..., DynamoStore], wire: Any, run: Run) -> None:
    """The event still proves who and when; that its policy is gone is a note and no fault."""
    store = connect(FrozenTime(datetime.now(UTC) - timedelta(days=600)))
    claim_of(store, A, terms=under(POLICY))
    reviews.review(store, A, reviewer="aws:ana", verdict=Verdict.REJECT)
    for name in ("claim", "policy"):
        key = keys.claim_key(A) if name == "claim" else keys.content_key(A, "policy")
        wire.delete_item(TableName=store._table, Key=key)
    (one,) = told(run)
    assert (one["verified"], one["decided_by"], one["notes"]) == (True, "aws:ana", ["its claim and policy are gone by age"])


# ---- forms --------------------------------------------------------------------------------


class Outline(HTMLParser):
    """The elements of a page, its text, and what it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [name for name, _ in attrs if name in ("src", "href", "onclick", "action")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.mark.usefixtures("week")
def test_the_page_needs_nothing_and_runs_nothing(run: Run) -> None:
    """No script, nothing loaded, whatever others wrote; one section a decision; it says how to print."""
    ran = run("audit", "report", "--pool", POOL, "--format", "html")
    page = Outline()
    page.feed(ran.stdout)
    assert ran.exit_code == 0
    assert ran.stdout.startswith("<!doctype html>")
    assert page.tags.count("section") == 4
    assert not {"script", "img", "link", "iframe"} & set(page.tags)
    assert page.loads == []
    assert "@media print" in ran.stdout
    assert "<script>alert(1)</script>" in "".join(page.text)
    assert "\x1b" not in ran.stdout


@pytest.mark.usefixtures("week")
def test_the_csv_is_a_line_a_decision_and_no_formula(run: Run) -> None:
    """A spreadsheet takes no text of others for a formula."""
    ran = run("audit", "report", "--pool", POOL, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(ran.stdout)))
    assert [row["claim"] for row in rows] == [A, B, C, D]
    assert [row["verified"] for row in rows] == ["true"] * 4
    assert "required_approvals: 2" in rows[1]["policy"]
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]


# ---- history ------------------------------------------------------------------------------


@pytest.mark.usefixtures("week")
@pytest.mark.parametrize(
    ("narrow", "kinds"),
    [
        (("--since", "2026-11-21"), ["pending", "approved"]),
        (("--until", "2026-11-19"), ["pending", "rejected"]),
        (("--since", "2026-11-20", "--until", "2026-11-20", "--by", "BEN"), ["reviewed"]),
        (("--event", "approved", "--event", "rejected"), ["rejected", "approved", "approved"]),
        (("--by", "aws:ops"), ["released"]),
        (("--lock", "docs", "--event", "approved"), ["approved"]),
    ],
)
def test_history_is_narrowed_by_time_person_and_event(run: Run, narrow: tuple[str, ...], kinds: list[str]) -> None:
    """Each alone and together."""
    events = json.loads(run("history", "--pool", POOL, *narrow, "--format", "json").stdout)
    assert [event["kind"] for event in events] == kinds


# ---- receipts -----------------------------------------------------------------------------


def test_a_receipt_is_what_verify_takes(week: DynamoStore, run: Run, tmp_path: Path) -> None:
    """By a short id, of a claim that has ended; kept elsewhere it proves the log later."""
    kept = tmp_path / "receipt.json"
    kept.write_text(run("receipt", B[:8]).stdout, encoding="utf-8")
    document = json.loads(kept.read_text(encoding="utf-8"))
    assert (document["decision"], document["decided_by"], document["policy"][0]["name"]) == (
        "approved",
        "aws:ana",
        "two-people",
    )
    ran = run("audit", "verify", "--against", str(kept))
    assert (ran.exit_code, "nothing wrong" in ran.stdout) == (0, True)


def test_an_undecided_claim_has_no_receipt(store: DynamoStore, run: Run) -> None:
    """One line says where it stands."""
    claim_of(store, A)
    refused(run("receipt", A), "is pending")


def test_a_lock_that_never_was_is_no_empty_report(week: DynamoStore, run: Run) -> None:
    """A misspelt lock must not read as a lock on which nobody decided anything."""
    ran = run("audit", "report", "--pool", POOL, "--lock", "productoin")
    assert (ran.exit_code, ran.stdout) == (3, "")
    assert "nothing ever happened on lock productoin in pool payments; its locks: " in ran.stderr
    assert week.lock_names(POOL)[0] in ran.stderr


@pytest.mark.usefixtures("friday")
@pytest.mark.parametrize(
    "when", ["9999-12-31", "9999-12-31T23:59:59Z", "0001-01-01", "99999999999h", "999999999999999999999h", "-1h"]
)
@pytest.mark.parametrize("option", ["--since", "--until"])
@pytest.mark.parametrize("command", [("audit", "report"), ("history",)])
def test_no_time_is_too_far_away(run: Run, command: tuple[str, ...], option: str, when: str) -> None:
    """Any time is taken or refused in lines, however near to the end of the calendar."""
    ran = run(*command, "--pool", POOL, option, when)
    assert ran.exit_code in (0, 1, 3)
    assert ran.exception is None or isinstance(ran.exception, SystemExit)


@pytest.mark.parametrize("form", ["text", "html", "csv", "json"])
def test_each_form_says_who_a_reviewer_is_and_in_which_groups(connect: Callable[..., DynamoStore], run: Run, form: str) -> None:
    """A subject's id says little: the name under which `people` lists it, and the groups that its issuer told."""
    store = connect(FrozenTime())
    store.create_table()
    ben = "oidc:https://login.example#7f3a"
    policy = {"name": "two", "required_approvals": 1, "people": {"ben": ["aws:arn:aws:iam::111122223333:user/ben", ben]}}
    claim_of(store, B, terms=under(policy))
    group = "oidc-group:https://login.example#security"
    reviews.review(store, B, reviewer=ben, verdict=Verdict.APPROVE, groups=(group,))
    told = run("audit", "report", "--pool", POOL, "--format", form).stdout
    if form == "json":
        (review,) = json.loads(told)[0]["reviews"]
        assert (review["persons"], review["groups"], review["counted"]) == (["ben"], [group], True)
    else:
        assert f"(counted; who is ben; in {group})" in told
