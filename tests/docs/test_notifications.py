"""What docs/notifications.md says holds: its file can be read, its tables are complete, its recipes play."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from approval_resource.clock import HostClock
from approval_resource.model.claim import Attachment
from approval_resource.model.event import State
from approval_resource.notify import run
from approval_resource.notify.channels.webhook import WebhookOutlet
from approval_resource.notify.config import DEFAULT_ON, KINDS, Channel, Config, Rule, read
from approval_resource.notify.connections import parse_address
from approval_resource.notify.links import PageLinks
from approval_resource.notify.message import Reading
from approval_resource.notify.outlets import outlet_of
from approval_resource.notify.worker import Worker
from approval_resource.policy.language.load import parse
from approval_resource.store.dynamodb.store import DynamoStore
from demo.engine import ROOT
from tests.builders import a_build, take, under
from tests.docs.player import Player
from tests.notify.conftest import SECRET, rules
from tests.notify.standins import Receiver, served, verifier
from tests.scripts.conftest import Concourse, until
from tests.service.conftest import Serve, one_provider, provider, serve  # noqa: F401 - fixtures

PAGE = (ROOT / "docs" / "notifications.md").read_text(encoding="utf-8")


def block(mark: str, kind: str) -> str:
    """The page's block under that mark."""
    found = re.search(rf"<!-- {re.escape(mark)} -->\n```{kind}\n(.*?)```", PAGE, re.DOTALL)
    assert found, mark
    return found[1]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Whatever takes a text."""
    with served(Receiver()) as started:
        yield started


def section(title: str) -> str:
    """The page's part under that heading."""
    found = re.search(rf"^#+ {title}\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, title
    return found[1]


def rows(text: str) -> set[str]:
    """The names in the first column of the first table."""
    table = re.search(r"^\| option .*?(?=\n\n|\Z)", text, re.DOTALL | re.MULTILINE)
    assert table
    cells = re.findall(r"^\| (`[^|]+?) \|", table[0], re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_the_whole_file_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind of channel is in it."""
    for name in ("SLACK_TOKEN", "HOOK_SECRET", "PAGER_URL"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("TEAMS_URL", "https://flow.example/1")
    text = block("notify: whole", "yaml").replace("file:/run/secrets/smtp", "env:HOOK_SECRET")
    document, _ = parse(text, "notify.yaml")
    config = read(document, "notify.yaml")
    kinds = {type(config.channel(name)) for name in config.channels}
    assert kinds == set(KINDS.values())
    assert all(outlet_of(config.channel(name)) for name in config.channels)


def test_every_option_has_its_row() -> None:
    """No option is undocumented, and none is documented that isn't there."""
    assert rows(section("The file")) == Config.model_fields.keys() - {"channels", "notify"}
    assert rows(section("Channels")) == set(Channel.model_fields)
    assert rows(section("Rules")) == set(Rule.model_fields)
    table = section("Channels").split("| channel |")[1]
    own = {field.alias or name for kind in KINDS.values() for name, field in kind.model_fields.items()}
    assert {name for name in own - set(Channel.model_fields) if f"`{name}`" not in table} == set()
    told = re.search(r"^\| `on` \| (.*?) \|", section("Rules"), re.MULTILINE)
    assert told
    assert re.findall(r"`(\w+)`", told[1]) == [state.value for state in DEFAULT_ON]


def test_the_verifier_has_20_lines_and_knows_a_signature() -> None:
    """Of the standard's own example; a character changed anywhere, an old message and one told before are refused."""
    found = re.search(r"```python\n(import base64.*?)```", PAGE, re.DOTALL)
    assert found
    assert len([line for line in found[1].splitlines() if line]) <= 20
    verify = verifier()
    body = b'{"test": 2432232314}'
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    assert verify(SECRET, headers, body, 1614265330, set())
    assert not verify(SECRET, headers, body + b" ", 1614265330, set())
    assert not verify(f"{SECRET[:-1]}x", headers, body, 1614265330, set())
    assert not verify(SECRET, headers, body, 1614265330 + 301, set())
    assert not verify(SECRET, headers, body, 1614265330, {"msg_p5jXN8AQM9LWM0D4loKWxJek"})
    for name in headers:
        assert not verify(SECRET, headers | {name: headers[name][:-1] + "1"}, body, 1614265330, set())


def test_a_job_tells_what_waits(concourse: Concourse, store: DynamoStore, receiver: Receiver) -> None:
    """The recipe without any service: what, who asked, the link and the line to copy, escaped, once for each claim."""
    program = block("program: ci/tell.py", "python")
    task = yaml.safe_load(block("task: ci/tell.yml", "yaml"))

    def tell(workspace: Path) -> None:
        assert {one["name"] for one in task["inputs"]} <= {path.name for path in workspace.iterdir()}
        assert task["run"] == {"path": "python3", "args": ["ci/tell.py"]}
        environment = {**os.environ, **dict.fromkeys(task["params"], receiver.url), "no_proxy": "127.0.0.1"}
        subprocess.run([sys.executable, "ci/tell.py"], cwd=workspace, env=environment, check=True, timeout=60)

    player = Player(concourse, block("pipeline: told-by-a-job", "yaml"), {"tell": tell})
    (player.shelf("ci") / "tell.yml").touch()
    (player.shelf("ci") / "tell.py").write_text(program)
    first = take(store, a_build(1, created_by="dana"), lock_name="a", description="deploy <!channel> it")
    assert player.run("tell").outcome == "succeeded"
    second = take(store, a_build(2), lock_name="b")
    assert player.run("tell").outcome == "succeeded"
    one, two = (request.document["text"] for request in receiver.taken)
    assert "a in payments waits for approval: deploy &lt;!channel&gt; it" in one
    assert "asked by dana: https://ci.example/builds/1" in one
    assert f"python3 cli.py approve {first.id}" in one
    assert second.id in two
    # The line that it tells is one that works.
    assert concourse.cli(*one.splitlines()[-1].split()[2:]).code == 0


@pytest.mark.parametrize(("size", "state"), [(10, "approved"), (5000, "rejected")])
def test_a_program_that_gets_the_webhook_decides_by_its_own_rule(
    concourse: Concourse, store: DynamoStore, receiver: Receiver, size: int, state: str
) -> None:
    """It verifies, applies its rule and answers by the command line; the decision is told in turn."""
    space: dict[str, Any] = {}
    program = block("program: decide", "python").replace("subprocess.run(command, check=True, timeout=60)", "run(command)")
    space["run"] = lambda command: concourse.cli(*command[2:])
    exec(program, space)  # noqa: S102 - the documentation's own code
    seen: set[str] = set()
    worker = Worker(
        reading=Reading("hook", ZoneInfo("UTC"), 0, PageLinks()),
        outlet=WebhookOutlet(parse_address(receiver.url), SECRET),
        rules=rules(),
        store=store,
        outbox=store.outbox,
        clock=HostClock(),
        holder="one",
    )
    worker.turn()
    plan = b"x" * size

    file = Attachment(hashlib.sha256(plan).hexdigest(), size, stored=True)
    claim = take(store, 1, attachments={"plan.txt": file}, attached={"plan.txt": plan})
    worker.turn()
    (request,) = receiver.taken
    now = int(request.headers["webhook-timestamp"])
    assert verifier()(SECRET, request.headers, request.body, now, seen)
    space["decide"](request.body)
    until(lambda: (found := store.claim(claim.id)) and found.state.value == state, "decided")
    worker.turn()
    assert [json.loads(one.body)["type"] for one in receiver.taken] == ["claim.pending", f"claim.{state}"]


@pytest.mark.parametrize(("size", "state"), [(10, State.APPROVED), (5000, State.REJECTED)])
def test_a_program_that_gets_the_webhook_replies_by_its_links(
    serve: Serve,  # noqa: F811
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    state: State,
) -> None:
    """As nullplatform has it: the service tells it, it verifies and replies, and the decision is told in turn."""
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    running = serve(
        links={"bearer": ["hook"]},
        channels={"hook": {"webhook": f"{receiver.url}/hook", "secret": "env:HOOK_SECRET"}},
        notify=[{"pools": ["payments"], "to": ["hook"]}],
    )
    space: dict[str, Any] = {}
    exec(block("program: reply", "python"), space)  # noqa: S102 - the documentation's own code

    def tell() -> Any:
        assert run.once(running.service.telling.workers(), HostClock()) == []
        return receiver.taken[-1] if receiver.taken else None

    tell()
    plan = b"x" * size
    file = Attachment(hashlib.sha256(plan).hexdigest(), size, stored=True)
    claim = running.claim(
        attachments={"plan.txt": file},
        attached={"plan.txt": plan},
        terms=under(approval_rules=[{"user": "size-rule"}], people={"size-rule": ["link:hook"]}),
    )
    request = tell()
    assert verifier()(SECRET, request.headers, request.body, int(request.headers["webhook-timestamp"]), set())
    space["reply"](request.body)
    found = running.store.claim(claim.id)
    assert found is not None
    assert (found.state, list(found.reviews)) == (state, ["link:hook"])
    assert found.reviews["link:hook"].comment.endswith("(said to be by size rule)")
    with pytest.raises(urllib.error.HTTPError, match="409"):
        space["reply"](request.body)
    told = tell().document
    assert told["type"] == f"claim.{state.value}"
    assert "approve_url" not in told["claim"]
    space["reply"](json.dumps(told).encode())


def test_all_recipes_are_played() -> None:
    """A pipeline or program that is added to the page is played by a test here."""
    marks = set(re.findall(r"<!-- ((?:pipeline|task|program|notify): \S+) -->", PAGE))
    here = Path(__file__).read_text(encoding="utf-8")
    assert {mark for mark in marks if f'"{mark}"' not in here} == set()
