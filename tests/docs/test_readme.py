"""What the README says holds: its pipelines play, its tables are complete, its links lead somewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from approval_resource.audit import verify as audit
from approval_resource.model.event import State
from approval_resource.pools import set_policy
from approval_resource.steps.get import GetParams
from approval_resource.steps.protocol import Source
from approval_resource.steps.put_params import AwaitParams, ClaimParams, DecideParams, ReleaseParams, RenewParams
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.strict_options import named_options
from cli import cli
from demo.engine import ROOT
from tests.docs.player import BuildAbortedError, Job, Player, StepErroredError, StepFailedError
from tests.scripts.conftest import Concourse, held_by

SHOWN = ("README.md", "docs/pipelines.md", "docs/reference.md")
README = "\n".join((ROOT / page).read_text(encoding="utf-8") for page in SHOWN)
"""The README and the pages that it sends a pipeline's author to."""
LOCK = "production"


def pipeline(name: str) -> str:
    """The README's pipeline of that name."""
    found = re.search(rf"<!-- pipeline: {name} -->\n```yaml\n(.*?)```", README, re.DOTALL)
    assert found, name
    return found[1]


def nothing(_: Path) -> None:
    """A task that needs no doing."""


def makes_a_plan(workspace: Path) -> None:
    """Leave a plan as the task `plan` would."""
    (workspace / "plan").mkdir()
    (workspace / "plan" / "plan.txt").write_text("+ 1 instance\n")


TASKS = {"deploy": nothing, "apply": nothing, "plan": makes_a_plan}


@pytest.fixture
def play(concourse: Concourse) -> Any:
    """Sets one of the README's pipelines, with a repository that holds its tasks' files."""

    def played(name: str) -> Player:
        player = Player(concourse, pipeline(name), TASKS)
        for task in TASKS:
            (player.shelf("ci") / f"{task}.yml").touch()
        return player

    return played


def claim_id(concourse: Concourse) -> str:
    """The id of the one open claim, as `list` shows it."""
    [row] = yaml.safe_load(concourse.cli("list", "--format", "json").stdout)
    return str(row["id"])


def test_people_decide_from_concourse(play: Any, concourse: Concourse, store: DynamoStore) -> None:
    """The deploying job prints the line, the page shows what waits, a person starts the job, and the deployment goes on."""
    player = play("by-hand")
    job = player.start("deploy", by="ben")
    job.says("fly trigger-job -j app/approve-production --team main")
    assert "fly trigger-job -j app/reject-production --team main" in "\n".join(job._lines())
    shown = player.run("waiting")
    assert shown.results[-1].metadata["description"] == "deploy the payments service"
    assert shown.results[-1].metadata["requester"] == "ben"
    decided = player.run("approve-production", by="anna")
    assert decided.outcome == "succeeded"
    assert any("deploy the payments service" in line for line in decided.log)
    assert job.ends() == "succeeded"
    assert job.ran == ["deploy"]
    assert held_by(store, LOCK) == ""
    kinds = [(event.kind.value, event.actor) for event in store.events("payments")]
    assert kinds[1] == ("approved", "concourse:https://ci.example#anna")
    assert [kind for kind, _ in kinds] == ["pending", "approved", "passed", "released"]


@pytest.mark.long
def test_two_people_of_a_quorum_decide_from_concourse(play: Any, concourse: Concourse, store: DynamoStore) -> None:
    """The README's first gate, with nothing but Concourse and the table, where the pool's policy asks for two.

    The first answer of each put is lost. Whoever deploys approves too, and the first person again; neither counts.
    """
    policy = [{"required_approvals": 2, "allow_self_approval": False}]
    set_policy(store, "payments", json.dumps(policy), actor="aws:op")
    player = play("by-hand")
    job = player.start("deploy", by="carl")
    job.says("It needs 2 approvals")
    job.says("fly trigger-job -j app/approve-production --team main")
    player.loses = True
    for who, told in (
        ("carl", "carl asked for this claim and doesn't count"),
        ("anna", "is not decided yet: 1 of 2 approvals (anna)"),
        ("anna", "is not decided yet: 1 of 2 approvals (anna)"),
    ):
        decided = player.run("approve-production", by=who)
        assert decided.outcome == "succeeded", decided.log
        assert any(told in line for line in decided.log), decided.log
    assert player.run("waiting").results[-1].metadata["state"] == "pending"
    job.says("concourse:https://ci.example#anna said approve; not decided yet")
    assert player.run("approve-production", by="ben").outcome == "succeeded"
    assert (job.ends(), job.ran) == ("succeeded", ["deploy"])
    late = player.run("approve-production", by="zoe")
    assert late.outcome == "failed"
    assert any("nothing waits for a decision on this lock now" in line for line in late.log)
    said = [(event.kind.value, event.actor) for event in store.events("payments") if event.verdict]
    names = ["carl", "anna", "ben"]
    assert said == [("approved" if name == "ben" else "reviewed", f"concourse:https://ci.example#{name}") for name in names]
    assert held_by(store, LOCK) == ""


@pytest.mark.long
def test_people_reject_from_concourse(play: Any, concourse: Concourse, store: DynamoStore) -> None:
    """The job that rejects succeeds, and the deploying one fails with who rejected it."""
    player = play("by-hand")
    job = player.start("deploy", by="ben")
    job.says("is waiting for an approval")
    assert player.run("reject-production", by="anna").outcome == "succeeded"
    assert (job.ends(), job.ran) == ("failed", [])
    assert any("rejected by concourse:https://ci.example#anna" in line for line in job.log)


def test_the_scheduler_decides_nothing(play: Any, concourse: Concourse, store: DynamoStore) -> None:
    """A build of the deciding job that nobody started is refused, and the gate goes on waiting."""
    player = play("by-hand")
    job = player.start("deploy")
    job.says("is waiting for an approval")
    refused = player.run("approve-production")
    assert refused.outcome == "failed"
    assert any("expose_build_created_by: true" in line for line in refused.log)
    job.abort()
    assert job.ends() == "aborted"


def test_claim_and_wait_in_one_step(play: Any, concourse: Concourse, store: DynamoStore) -> None:
    """The job waits at its put, deploys once approved, and gives the lock back."""
    job = play("one-step").start("deploy")
    line = job.says("approve --id")
    assert job.ran == []
    # The printed command is the one to copy; here it is given the test's own address.
    assert concourse.cli("approve", *line.split("approve")[1].split()).code == 0
    assert job.ends() == "succeeded"
    assert job.ran == ["deploy"]
    assert held_by(store, LOCK) == ""
    assert [event.kind.value for event in store.events("payments")] == ["pending", "approved", "passed", "released"]


def test_a_rejected_job_deploys_nothing_and_frees_the_lock(play: Any, concourse: Concourse, store: DynamoStore) -> None:
    """A rejection fails the put; ensure finds nothing left to release and is no error."""
    job = play("one-step").start("deploy")
    job.says("is waiting for an approval")
    assert concourse.cli("reject", claim_id(concourse), "--comment", "freeze").code == 0
    assert job.ends() == "failed"
    assert job.ran == []
    assert held_by(store, LOCK) == ""
    assert any("freeze" in line for line in job.log)
    assert job.results[-1].code == 0


def test_an_aborted_job_leaves_nothing(play: Any, concourse: Concourse, store: DynamoStore) -> None:
    """An abort while waiting withdraws the claim, and ensure finds it ended."""
    job = play("one-step").start("deploy")
    job.says("is waiting for an approval")
    job.abort()
    assert job.ends() == "aborted"
    assert job.ran == []
    assert store.open_claims() == []
    assert [event.kind.value for event in store.events("payments")] == ["pending", "withdrawn"]
    assert job.results[-1].code == 0


@pytest.mark.long
def test_plan_approve_apply(play: Any, concourse: Concourse, store: DynamoStore) -> None:
    """The apply job runs on the plan that was approved, once."""
    player = play("plan-apply")
    assert player.run("plan").outcome == "succeeded"
    assert held_by(store, LOCK) == claim_id(concourse)
    job = player.start("apply")
    job.says("is waiting for an approval")
    assert (job.workspace / "approval" / "attached" / "plan.txt").read_text() == "+ 1 instance\n"
    assert concourse.cli("approve", claim_id(concourse)).code == 0
    assert job.ends() == "succeeded"
    assert job.ran == ["apply"]
    assert held_by(store, LOCK) == ""


@pytest.mark.long
def test_another_plan_than_the_approved_one_is_not_applied(play: Any, concourse: Concourse, store: DynamoStore) -> None:
    """A plan that changed since fails the gate, says which, and the lock is free again."""
    player = play("plan-apply")
    assert player.run("plan").outcome == "succeeded"
    (player.shelf("plans") / "plan.txt").write_text("- 100 instances\n")
    assert concourse.cli("approve", claim_id(concourse)).code == 0
    job = player.run("apply")
    assert job.outcome == "failed"
    assert job.ran == []
    assert any(line.startswith('params.verify.plan.txt: "plans/plan.txt" has changed') for line in job.log)
    assert held_by(store, LOCK) == ""


def test_an_approved_plan_is_applied_once(play: Any, concourse: Concourse) -> None:
    """A rerun of the apply job finds the claim ended and applies nothing."""
    player = play("plan-apply")
    player.run("plan")
    assert concourse.cli("approve", claim_id(concourse)).code == 0
    assert player.run("apply").ran == ["apply"]
    again = player.run("apply")
    assert (again.outcome, again.ran) == ("failed", [])


@pytest.mark.long
def test_a_job_starts_when_an_approval_lands(play: Any, concourse: Concourse, store: DynamoStore) -> None:
    """No version until somebody approves; then one, on which the job runs, once."""
    player = play("on-approval")
    assert player.run("ask").outcome == "succeeded"
    approved = player.resources["approved"]
    assert approved.versions() == []
    assert concourse.cli("approve", claim_id(concourse)).code == 0
    [version] = approved.versions()
    assert (version["state"], version["lock_name"]) == ("approved", LOCK)
    job = player.run("deploy")
    assert (job.outcome, job.ran) == ("succeeded", ["deploy"])
    assert held_by(store, LOCK) == ""
    assert approved.versions(version) == [version]


@pytest.mark.long
def test_a_lock_is_kept_after_a_failure_and_freed_after_an_abort(play: Any, concourse: Concourse, store: DynamoStore) -> None:
    """on_abort alone: a failed deployment keeps the lock until somebody frees it by hand."""
    player = play("on-abort")

    def fails(_: Path) -> None:
        raise StepFailedError("deployment failed")

    player.tasks = TASKS | {"deploy": fails}
    job = player.start("deploy")
    job.says("is waiting for an approval")
    held = claim_id(concourse)
    assert concourse.cli("approve", held).code == 0
    assert job.ends() == "failed"
    assert held_by(store, LOCK) == held
    assert concourse.cli("release", held, "--reason", "looked at it").code == 0
    player.tasks = TASKS
    aborted = player.start("deploy")
    aborted.says("is waiting for an approval")
    aborted.abort()
    assert aborted.ends() == "aborted"
    assert store.open_claims() == []
    assert audit.verify(store, "payments").findings == []


def ends_after_its_claim(player: Player, name: str, outcome: str) -> Job:
    """A build of that job whose claim stands when something after it goes wrong in that way."""

    def goes_wrong(_: Path) -> None:
        if outcome == "aborted":
            raise BuildAbortedError
        raise StepFailedError if outcome == "failed" else StepErroredError

    player.tasks = TASKS | {"after": goes_wrong}
    (player.shelf("ci") / "after.yml").touch()
    more = [] if any(step.get("get") == "ci" for step in player.jobs[name]["plan"]) else [{"get": "ci"}]
    player.jobs[name]["plan"] += [*more, {"task": "after", "file": "ci/after.yml"}]
    return player.run(name)


@pytest.mark.parametrize("outcome", ["failed", "errored", "aborted"])
@pytest.mark.parametrize(("name", "job"), [("plan-apply", "plan"), ("on-approval", "ask")])
@pytest.mark.long
def test_a_job_that_ends_badly_after_its_claim_gives_the_lock_back(
    play: Any, concourse: Concourse, store: DynamoStore, name: str, job: str, outcome: str
) -> None:
    """Nobody is asked about a plan that no job would apply, and the next one gets the lock."""
    ended = ends_after_its_claim(play(name), job, outcome)
    assert ended.outcome == outcome
    assert [event.kind.value for event in store.events("payments")] == ["pending", "withdrawn"]
    assert held_by(store, LOCK) == ""
    assert ended.results[-1].code == 0


@pytest.mark.parametrize("outcome", ["failed", "errored", "aborted"])
@pytest.mark.long
def test_a_plan_that_fails_before_its_claim_takes_no_other_s_lock(
    play: Any, concourse: Concourse, store: DynamoStore, outcome: str
) -> None:
    """The claim of an earlier build stays, approved or not, and its plan is applied."""
    player = play("plan-apply")
    assert player.run("plan").outcome == "succeeded"
    held = held_by(store, LOCK)
    assert concourse.cli("approve", held).code == 0

    def goes_wrong(_: Path) -> None:
        raise {"failed": StepFailedError, "errored": StepErroredError, "aborted": BuildAbortedError}[outcome]

    player.tasks = TASKS | {"plan": goes_wrong}
    assert player.run("plan").outcome == outcome
    assert held_by(store, LOCK) == held
    player.tasks = TASKS
    assert player.run("apply").ran == ["apply"]


@pytest.mark.parametrize(("fails", "held"), [("plans", False), ("ci", False), ("approval", True)])
@pytest.mark.long
def test_a_get_that_fails_before_the_gate_keeps_no_lock(
    play: Any, concourse: Concourse, store: DynamoStore, fails: str, held: bool
) -> None:
    """`ensure` gives the lock back where the claim is known; where it isn't, it frees nothing and a later build can apply it."""
    player = play("plan-apply")
    player.run("plan")
    claim = claim_id(concourse)
    assert concourse.cli("approve", claim).code == 0
    player.fails = [fails]
    job = player.run("apply")
    assert (job.outcome, job.ran) == ("failed", [])
    assert held_by(store, LOCK) == (claim if held else "")
    player.fails = []
    assert player.run("apply").ran == (["apply"] if held else [])


@pytest.mark.parametrize(
    ("name", "jobs", "puts"),
    [
        ("by-hand", ["deploy"], ["claim", "release"]),
        ("one-step", ["deploy"], ["claim", "release"]),
        ("plan-apply", ["plan", "apply"], ["claim", "await", "release"]),
        ("on-approval", ["ask", "deploy"], ["claim", "await", "release"]),
        ("on-abort", ["deploy"], ["claim", "release"]),
    ],
)
@pytest.mark.long
def test_every_answer_may_be_lost_once(
    play: Any, concourse: Concourse, store: DynamoStore, name: str, jobs: list[str], puts: list[str]
) -> None:
    """`attempts: 2` heals each put: one claim, one approval, one release, and every job succeeds."""
    player = play(name)
    player.loses = True
    *before, last = jobs
    for job in before:
        assert player.run(job).outcome == "succeeded"
        assert concourse.cli("approve", claim_id(concourse)).code == 0
    started = player.start(last)
    if not before:
        started.says("is waiting for an approval")
        assert concourse.cli("approve", claim_id(concourse)).code == 0
    assert started.ends() == "succeeded"
    assert started.ran == [last]
    assert [put["params"]["action"] for put in player.lost] == puts
    kinds = [event.kind.value for event in store.events("payments")]
    assert kinds == ["pending", "approved", "spent" if before else "passed", "released"]


def section(title: str) -> str:
    """The README's part under that heading, up to the next of the same rank."""
    found = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^\1 |^## |\Z)", README, re.DOTALL | re.MULTILINE)
    assert found, title
    return found[2]


def first_column(text: str) -> set[str]:
    """The names in the first column of the tables in `text`."""
    cells = re.findall(r"^\| (`[^|]+?) \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def options(model: Any) -> set[str]:
    """What the model calls its options."""
    return set(named_options(model))


def test_every_option_of_source_has_its_row() -> None:
    """No option is undocumented, and none is documented that isn't there."""
    assert first_column(section("source")) == options(Source)


def test_every_param_has_its_row() -> None:
    """Of in, and of each action of out."""
    into = section("in (get)").split("It writes these files")[0]
    assert first_column(into) == options(GetParams)
    actions = re.split(r"^`action: (\w+)`", section("out (put)"), flags=re.MULTILINE)
    told = dict(zip(actions[1::2], actions[2::2], strict=True))
    for name, model in (
        ("claim", ClaimParams),
        ("release", ReleaseParams),
        ("await", AwaitParams),
        ("renew", RenewParams),
        ("approve", DecideParams),
    ):
        assert first_column(told[name]) == options(model) - {"action"}, name


def test_every_state_has_its_row() -> None:
    """The states of a version, in the order of a claim's life."""
    assert first_column(section("check")) == {state.value for state in State}


def test_every_command_has_its_row() -> None:
    """What the command line offers, groups included."""
    told = {" ".join(re.findall(r"[a-z]+", name.split("ID")[0])) for name in first_column(section("Command line"))}
    commands = set()
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        commands |= {f"{name} {sub}" for sub in command.commands} if isinstance(command, click.Group) else {name}
    assert told == commands


def test_every_option_of_the_command_line_is_told() -> None:
    """Each option of each command stands somewhere in its section, or in help alone where every command has it."""
    everywhere = {"--help", "--debug"}
    text = section("Command line")

    def walk(command: click.Command) -> set[str]:
        found = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        return found.union(*(walk(sub) for sub in command.commands.values())) if isinstance(command, click.Group) else found

    assert {option for option in walk(cli) - everywhere if option not in text} == set()


PAGES = sorted(str(path.relative_to(ROOT)) for folder in ("*.md", ".github/*.md", "docs/**/*.md") for path in ROOT.glob(folder))


def anchors(text: str) -> set[str]:
    """What a page's headings are called in links, as GitHub calls them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """Files that are linked to exist, and so do headings, of the page itself and of others."""
    path = ROOT / page
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        name, _, heading = target.partition("#")
        linked = path.parent / name if name else path
        assert linked.exists(), target
        assert not heading or heading in anchors(linked.read_text(encoding="utf-8")), target


def test_all_pipelines_are_played() -> None:
    """A pipeline that is added to the README is played by a test here."""
    named = set(re.findall(r"<!-- pipeline: ([\w-]+) -->", README))
    played = set(re.findall(r'play\("([\w-]+)"\)', Path(__file__).read_text(encoding="utf-8")))
    assert named == played
    assert README.count("jobs:\n") == len(named)


def test_the_index_of_the_docs_has_every_page() -> None:
    """Each page, and each folder or a page in it, by a link that leads there, in a row of the table."""
    docs = ROOT / "docs"
    rows = [line for line in (docs / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    linked = {link.partition("#")[0] for line in rows for link in re.findall(r"\]\(([^)]+)\)", line)}
    assert {link for link in linked if not (docs / link).exists()} == set()
    pages = {page.name for page in docs.glob("*.md")} - {"README.md"}
    assert pages - linked == set()
    folders = {folder.name for folder in docs.iterdir() if folder.is_dir() and any(folder.rglob("*.md"))}
    assert folders - {link.partition("/")[0] for link in linked} == set()
