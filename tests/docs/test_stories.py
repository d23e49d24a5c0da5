"""Five stories, played with the real programs on a terminal of 80 columns. docs/stories keeps what they show."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from wcwidth import wcswidth, wrap

from approval_resource.canonical import EMPTY
from approval_resource.model.claim import Build
from approval_resource.store.dynamodb import keys
from demo.engine import ROOT
from tests.builders import a_build
from tests.cli.terminal import on_terminal
from tests.scripts.conftest import Concourse

KEPT = ROOT / "docs" / "stories"
COLUMNS = 80
RECORDING = bool(os.environ.get("RECORD_STORIES"))
APPROVALS = (sys.executable, "-c", "import sys; sys.argv[0] = 'approvals'; from approval_resource.__main__ import main; main()")
ROOT_ARN = "aws:arn:aws:iam::000000000000:root"
TWO_PEOPLE = f"""\
name: two-people
required_approvals: 2
allow_self_approval: false
people:
  anna: [{ROOT_ARN}, anna]
  ben: ["concourse:ben"]
"""
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
MASKS: list[tuple[str, Callable[[re.Match[str]], str]]] = [
    (r"http://127\.0\.0\.1:\d+", lambda _: "https://dynamodb.eu-west-1.amazonaws.com"),
    # Other tests' tables may be there meanwhile.
    (
        r"there (?:is|are) [^\n]* in us-east-1; (?:check the region|name one), or",
        lambda _: "there are no tables in eu-west-1; check the region, or",
    ),
    (r"in us-east-1", lambda _: "in eu-west-1"),
    (r"region us-east-1", lambda _: "region eu-west-1"),
    (r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day(?=\s+\d{4}-)", lambda _: "Friday"),
    (r"\d{4}-\d\d-\d\d(T| |\n +)\d\d:\d\d:\d\d(\.\d+)?", lambda m: f"2026-11-27{m[1]}09:00:00{'.000000' if m[2] else ''}"),
    (r"\b[0-9a-f]{64}\b", lambda _: "5f" * 32),
    (r"\b\d+ (?:s|min)\b(?: \d+ s)?( *)", lambda m: "2 s".ljust(len(m[0])) if len(m[1]) > 1 else f"2 s{m[1]}"),
    (r"(versions:) [^\n]*(\n  [^\n]*)*", lambda m: f"{m[1]} approval-resource, Python, botocore, click, pydantic, …"),
    (r"\d+ s (?:ahead of|behind) DynamoDB", lambda _: "0 s ahead of DynamoDB"),
    (r"2 s (?:ahead of|behind) DynamoDB", lambda _: "0 s ahead of DynamoDB"),
]


@dataclass
class Story:
    """What one person types and sees."""

    concourse: Concourse
    title: str
    told: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    """Ids of claims, of which only the beginning may be shown."""

    def says(self, text: str) -> None:
        """Tell what happens in between."""
        self.told += ["", *(f"# {line}" for line in text.splitlines())]

    def types(self, line: str, variables: Mapping[str, str] = EMPTY, code: int = 0) -> str:
        """Type a line on the terminal; return what it shows."""
        words = tuple(shlex.split(line))
        given = self.concourse.engine.environment(self.concourse.table) | {"LOGNAME": "anna", "NO_COLOR": "1"} | dict(variables)
        seen = on_terminal(words, given | {"PYTHONPATH": str(ROOT)}, COLUMNS, called=APPROVALS, cwd=self.concourse.scratch)
        assert seen.code == code, (line, seen)
        assert [one for one in seen.lines if wcswidth(one) > COLUMNS] == [], line
        self.told += ["", f"$ approvals {line}", *seen.lines, *seen.stderr.splitlines()]
        self.told += [f"(exit code {code})"] if code else []
        return "\n".join([*seen.lines, seen.stderr])

    def log(self, what: str, lines: Iterable[str]) -> None:
        """Show a build's log."""
        self.told += ["", f"[{what}]", *lines]

    def text(self) -> str:
        """The story without what differs from one playing to the next."""
        text = "\n".join([self.title, "=" * len(self.title), *self.told]) + "\n"
        text = text.replace(self.concourse.table, "concourse-approvals")
        for pattern, made_of in MASKS:
            text = re.sub(pattern, made_of, text)
        # After the masks: the names of other tests' tables hold such ids, too.
        for number, known in enumerate(dict.fromkeys([*UUID.findall(text), *self.ids]), 1):
            made = f"{number}b2c3d4e-5f60-4718-8293-a4b5c6d7e8f{number}"
            text = text.replace(known, made).replace(known[:8], made[:8])
        return "\n".join(fitted for line in text.splitlines() for fitted in _fitted(line.rstrip())) + "\n"


def _fitted(line: str) -> list[str]:
    """The line as it is shown on 80 columns: a command broken by a backslash, anything else at a word.

    Answers of the command line fit by themselves. Concourse's page breaks a build's log, a terminal an error.
    """
    if wcswidth(line) <= COLUMNS:
        return [line]
    if not line.startswith("$ "):
        return wrap(line, COLUMNS, subsequent_indent="  ", break_on_hyphens=False)
    broken = ["$"]
    for word in map(shlex.quote, shlex.split(line[2:])):
        if wcswidth(f"{broken[-1]} {word}") > COLUMNS - 2:
            broken.append("   ")
        broken[-1] += f" {word}"
    return [f"{one} \\" for one in broken[:-1]] + broken[-1:]


def shop(number: int, by: str = "") -> Build:
    """A build of the shop's pipeline."""
    return a_build(number, team="main", pipeline="shop", job="deploy", created_by=by)


def newcomer(story: Story, wire: Any) -> None:
    """Nothing is there yet."""
    concourse = story.concourse
    story.types("list", code=1)
    story.types("init")
    claimed = concourse.claim("production", build=shop(21), description="release 3.2")
    story.log("build shop/deploy #21: put with action: claim", claimed.lines)
    story.types("list")
    story.types(f"approve {claimed.version['id'][:8]}")
    story.types("list --all")


def author(story: Story, wire: Any) -> None:
    """A policy is written, tried and used."""
    concourse = story.concourse
    story.types("init")
    (concourse.scratch / "policy.yaml").write_text(TWO_PEOPLE, encoding="utf-8")
    story.log("policy.yaml", TWO_PEOPLE.splitlines())
    story.types("policy lint policy.yaml")
    story.types("policy eval policy.yaml --requester carl")
    concourse.write("ci/policy.yaml", TWO_PEOPLE, build=shop(21, "carl"))
    waiting = concourse.start_put(
        "claim",
        build=shop(21, "carl"),
        lock_name="production",
        need_approval=True,
        wait=True,
        description="release 3.2",
        policy_file="ci/policy.yaml",
    )
    found = UUID.search(waiting.says("approvals reject"))
    assert found is not None
    story.types(f"reject {found[0]} --comment 'not before the fair'", {"AWS_ENDPOINT_URL_STS": concourse.engine.url})
    ended = waiting.ends()
    assert ended.code == 1
    story.log("build shop/deploy #21: put with wait: true, from beginning to end", ended.lines)


def reviewer(story: Story, wire: Any) -> None:
    """Somebody is woken at night."""
    concourse, sts = story.concourse, {"AWS_ENDPOINT_URL_STS": story.concourse.engine.url}
    story.concourse.cli("init")
    waiting = concourse.start_put(
        "claim",
        build=shop(21, "carl"),
        lock_name="production",
        need_approval=True,
        wait=True,
        description="release 3.2",
        policy=[{"name": "two-people", "required_approvals": 2, "people": {"anna": [ROOT_ARN], "ben": ["concourse:ben"]}}],
    )
    found = UUID.search(waiting.says("approvals reject"))
    assert found is not None
    own = concourse.claim(
        "docs",
        build=shop(22, "anna"),
        policy=[{"required_approvals": 1, "allow_self_approval": False, "people": {"anna": [ROOT_ARN, "anna"]}}],
    ).version["id"]
    story.ids.append(own)
    story.types("list", sts)
    story.types(f"show {found[0][:8]}")
    story.types(f"approve {found[0][:8]} --comment 'looked at the plan'", sts)
    story.says("Ben starts the job approve-production in Concourse")
    version = next(one for one in concourse.versions({"timestamp": "0"}) if one["id"] == found[0])
    claim = concourse.get(version, build=shop(30, "ben"), into="waiting")
    assert claim.code == 0
    approved = concourse.put("approve", build=shop(30, "ben"), from_="waiting")
    story.log("build shop/approve-production #30", approved.lines)
    ended = waiting.ends()
    story.log("build shop/deploy #21", ended.lines)
    assert ended.code == 0
    story.says("Her own claim is another matter")
    story.types(f"approve {own[:8]}", sts, code=3)


def operator(story: Story, wire: Any) -> None:
    """A lock is stuck."""
    concourse, sts = story.concourse, {"AWS_ENDPOINT_URL_STS": story.concourse.engine.url}
    story.types("init")
    story.types("doctor", sts)
    held = concourse.put("claim", build=shop(21), lock_name="production").version["id"]
    story.ids.append(held)
    next_one = concourse.start_put("claim", build=shop(22), lock_name="production", need_approval=True)
    next_one.says("Place 1 of 1")
    story.types("list --waiting")
    story.types(f"release {held[:8]} --force --reason 'its worker died'", sts)
    took = next_one.ends()
    assert took.code == 0
    story.ids.append(took.version["id"])
    story.types(f"unblock {took.version['id'][:8]}")
    story.types("pool freeze payments --until 4h --reason 'incident 7'", sts)
    story.types("pool show payments")


def auditor(story: Story, wire: Any) -> None:
    """Who approved production, under which policy, and was it altered?"""
    concourse, sts = story.concourse, {"AWS_ENDPOINT_URL_STS": story.concourse.engine.url}
    concourse.cli("init")
    first = concourse.claim(
        "production", build=shop(21, "carl"), description="release 3.2", policy=[{"name": "one", "required_approvals": 1}]
    ).version
    story.types(f"approve {first['id'][:8]} --comment 'looked at the plan'", sts)
    story.types("history --pool payments --event approved")
    story.types("audit report --pool payments --lock production --since 24h")
    story.says("Somebody who may write the table edits the claim")
    wire.update_item(
        TableName=concourse.table,
        Key=keys.claim_key(first["id"]),
        UpdateExpression="SET description = :other",
        ExpressionAttributeValues={":other": {"S": "release 9.9"}},
    )
    story.types("audit verify", code=1)
    story.types("audit report --pool payments --lock production --since 24h", code=1)


STORIES = {play.__name__: play for play in (newcomer, author, reviewer, operator, auditor)}


@pytest.fixture
def story(concourse: Concourse) -> Story:
    """A story on a table that nobody has made."""
    return Story(concourse, "")


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.long
def test_a_story_shows_what_is_kept_of_it(story: Story, wire: Any, name: str) -> None:
    """Whoever changes what people see plays it again: `make stories`."""
    story.title = f"The {name}"
    STORIES[name](story, wire)
    told = story.text()
    path = KEPT / f"{name}.txt"
    if RECORDING:
        KEPT.mkdir(exist_ok=True)
        path.write_text(told, encoding="utf-8")
        if name == "reviewer":
            _write_picture(told)
    assert told == path.read_text(encoding="utf-8"), "docs/stories is out of date: run `make stories`"


@pytest.mark.parametrize("name", STORIES)
def test_a_story_fits_on_80_columns(name: str) -> None:
    """Every line of it, whatever it is of."""
    lines = (KEPT / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if wcswidth(line) > COLUMNS] == []


def picture(told: str) -> str:
    """The README's picture of a gate: the list, an approval, and the build's log after the second one."""
    shown = re.search(r"^\$ approvals list\n.*?(?=\n\n\$)", told, re.DOTALL | re.MULTILINE)
    log = re.search(r"^\[build shop/deploy #21\]\n.*?(?=\n\n)", told, re.DOTALL | re.MULTILINE)
    approved = re.search(r"^\$ approvals approve .*?(?=\n\n#)", told, re.DOTALL | re.MULTILINE)
    assert shown
    assert approved
    assert log
    return f"<!-- picture -->\n```text\n{shown[0]}\n\n{approved[0]}\n\n{log[0]}\n```\n<!-- end -->"


def _write_picture(told: str) -> None:
    page = ROOT / "README.md"
    text = re.sub(
        r"<!-- picture -->.*?<!-- end -->", lambda _: picture(told), page.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    page.write_text(text, encoding="utf-8")


def test_the_readme_s_picture_is_from_the_program() -> None:
    """List, approval and build log are a part of the reviewer's story; the page is a screenshot."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert picture((KEPT / "reviewer.txt").read_text(encoding="utf-8")) in text
    section = text.split("\n## ")[1]
    assert section.startswith("What it looks like")
    (page,) = re.findall(r"!\[[^\]]+\]\((docs/service/[^)]+\.png)\)", section)
    assert (ROOT / page).is_file()


def test_the_readme_is_read_in_minutes() -> None:
    """Under 1,500 words, and what to type first stands on its first screen."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) < 1500
    first = "\n".join(text.splitlines()[:24])
    assert "make demo" in first
    assert "make test" in first
