"""The demo and the playground, as `make demo` and `make playground` start them."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3

from demo.engine import PROGRAM, ROOT, EngineMissingError
from tests.conftest import engine_or_skip
from tests.service.browser import Answer, Browser

SECONDS = 60
CANARY = "someone-s-own"

Demo = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """The only place where temporary files go."""
    directory = tmp_path / "scratch"
    directory.mkdir()
    return directory


@contextmanager
def started(scratch: Path, *arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A process in a session of its own, with an environment that would mislead it."""
    if "MINISTACK" not in variables and not PROGRAM.exists():
        engine_or_skip(EngineMissingError(f"{PROGRAM} is missing"))
    misleading = {"AWS_PROFILE": CANARY, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    with subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | misleading | {"TMPDIR": str(scratch), "PYTHONUNBUFFERED": "1"} | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """What it printed, up to the line with those words."""
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        if words in line:
            return text
    raise AssertionError(f"it never said {words!r}: {text}")


def nothing_left(process: subprocess.Popen[str], scratch: Path) -> bool:
    """Whether no process of its session runs and no file of its is there."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return list(scratch.iterdir()) == []
        time.sleep(0.02)
    return False


@pytest.mark.long
def test_the_demo_plays_three_stories(scratch: Path) -> None:
    """It shows what is typed and printed, in plain text, ends with 0, and leaves nothing behind."""
    with started(scratch, "-m", "demo") as demo:
        told, errors = demo.communicate(timeout=SECONDS)
    assert (demo.returncode, errors) == (0, "")
    assert nothing_left(demo, scratch)
    assert "\x1b" not in told
    assert "demo-secret" not in told
    assert "$ approvals approve --id" in told
    assert "cli.py" not in told
    for shown in (
        '$ echo \'{"source": {"pool": "payments"',
        "| assets/check",
        "| assets/in gate",
        "… and it waits",
        "approved    claimed    description    id ",
        "has been approved by typed:ana: checked the changelog",
        "The lock production is free",
        "production was rejected by typed:bob",
        ": not on a Friday",
        'params.verify.plan: "plan/plan.txt" has changed',
        "The lock terraform has been approved by typed:ana",
        "There is no waiting approval",
        "nothing wrong",
    ):
        assert shown in told
    view = told[: told.index("Below is all of it")].splitlines()
    assert len(view) <= 25
    assert any(line.split()[:1] == ["id"] and line.split()[-2:] == ["needs", "you"] for line in view)
    assert any("Approved production (main/shop/deploy #6: release 1.3). Its gate opens" in line for line in view)
    assert not [line for line in view if len(line) > 80]
    headings = re.findall(r"^(\d\. .*)\n-+$", told, flags=re.MULTILINE)
    assert headings == ["1. A gate opens", "2. A gate stays shut", "3. A plan that changes after its approval"]


@pytest.mark.long
@pytest.mark.parametrize("way", ["Ctrl-C", "SIGTERM"])
def test_the_demo_can_be_stopped_at_a_waiting_gate(scratch: Path, way: str) -> None:
    """From the keyboard, which signals everything it started too, or by whoever started it."""
    with started(scratch, "-m", "demo") as demo:
        read_until(demo, "… and it waits")
        os.killpg(demo.pid, signal.SIGINT) if way == "Ctrl-C" else demo.terminate()
        _, errors = demo.communicate(timeout=SECONDS)
    assert (demo.returncode, errors.strip()) == (130, "Stopped; nothing is left running.")
    assert nothing_left(demo, scratch)


@pytest.mark.parametrize(
    ("story", "why"),
    [
        ("play.shell('exit 3')", "step 1 (exit 3): exit code 3, not 0"),
        ("play.cli('list').ends('something else')", 'step 1 (approvals list): never said "something else"'),
        ("play.cli('list').waits('nothing')", 'step 1 (approvals list): never said "nothing"'),
        ("d.must(False, 'the lock is free')", "missing effect: the lock is free"),
    ],
)
@pytest.mark.long
def test_a_surprise_ends_the_demo(scratch: Path, story: str, why: str) -> None:
    """An exit code, an output or an effect that isn't as it must be: exit code 1, and the step is named."""
    program = f"import demo.__main__ as d; d.approval = lambda play: {story}; raise SystemExit(d.main())"
    with started(scratch, "-c", program) as demo:
        told, errors = demo.communicate(timeout=SECONDS)
    assert (demo.returncode, errors) == (1, f"The demo failed at {why}\n")
    assert "2. A gate stays shut" not in told
    assert nothing_left(demo, scratch)


@pytest.mark.parametrize(("module", "target"), [("demo", "make demo"), ("demo.playground", "make playground")])
def test_a_missing_engine_is_told_with_the_way_to_get_it(scratch: Path, module: str, target: str) -> None:
    """One line instead of a traceback."""
    with started(scratch, "-m", module, MINISTACK=str(scratch / "none")) as demo:
        told, errors = demo.communicate(timeout=SECONDS)
    assert (demo.returncode, told, errors.count("\n")) == (1, "", 1)
    assert target in errors


@pytest.mark.long
def test_the_playground_s_lines_work_by_hand(scratch: Path) -> None:
    """Copied into a shell they claim, approve, also as two people, pass the gate, release and verify."""
    with started(scratch, "-m", "demo.playground") as playground:
        told = read_until(playground, "Ctrl-C")
        lines = told.replace(" ID ", " $ID ").replace("approvals reject", "# approvals reject")
        gate = lines[lines.index("# a gate that waits") : lines.index("# decide")]
        decide = lines[lines.index("# decide") : lines.index("# what the gate left")]
        find = 'ID=$(python3 cli.py list --format json | sed -n \'s/.*"id": "\\(.\\{36\\}\\)".*/\\1/p\')\n'
        typed = "set -e\n" + lines.replace(gate, "").replace(decide, find + decide + gate)
        by_hand = subprocess.run(["bash"], input=typed, capture_output=True, text=True, timeout=SECONDS, check=False)
        os.killpg(playground.pid, signal.SIGINT)
        _, errors = playground.communicate(timeout=SECONDS)
    assert by_hand.returncode == 0, by_hand.stderr
    for shown in (
        "has been approved",
        '"decision": "approved"',
        '"state": "released"',
        "not decided yet: 1 of 2 approvals (anna)",
        "approved by aws:arn:aws:iam::123456789012:user/ben",
        "nothing wrong",
    ):
        assert shown in by_hand.stdout
    assert (playground.returncode, errors.strip()) == (0, "Stopped; nothing is left behind.")
    assert nothing_left(playground, scratch)
    assert shlex.quote(str(ROOT)) in told


def signed_in(url: str, name: str, password: str, path: str) -> tuple[Browser, Answer]:
    """A browser of that person, and the page that it shows after they signed in at Cognito."""
    browser = Browser(url)
    page = browser.go(path)
    return browser, browser.submit(page, page.form("/login"), username=name, password=password)


@pytest.mark.long
def test_people_sign_in_to_the_playground_s_service_and_decide(scratch: Path) -> None:
    """Its address and a password are printed; the requester's word doesn't count, and that of two people opens the gate.

    What waits is told by a webhook with its link, and so is the decision.
    """
    with started(scratch, "-m", "demo.playground") as playground:
        told = read_until(playground, "Ctrl-C")
        address = re.search(r"service is at (http://127\.0\.0\.1:\d+)\n", told)
        word = re.search(r"Password of each: (\S+)\n", told)
        assert address is not None
        assert word is not None
        url, password = address[1], word[1]
        setting_up = told[told.index("cd ") : told.index("# claim a lock")]
        claiming = told[told.index("# Claim this for them") : told.index("# the record")]
        typed = f"set -e\n{setting_up}{claiming}newest"
        claimed = subprocess.run(["bash"], input=typed, capture_output=True, text=True, timeout=SECONDS, check=True)
        path = f"/claims/{claimed.stdout.splitlines()[-1]}"
        _, refused = signed_in(url, "anna", f"{password}-wrong", path)
        assert "Incorrect username or password" in refused.text
        with pytest.raises(urllib3.exceptions.HTTPError):
            signed_in(url.replace("127.0.0.1", "127.0.0.2"), "anna", password, path)
        seen = {}
        for name in ("carl", "ben", "anna"):
            browser, page = signed_in(url, name, password, path)
            assert page.status == 200
            seen[name] = browser.decide(page, "approve").text
            browser.close()
        webhooks = read_until(playground, "claim.approved")
        os.killpg(playground.pid, signal.SIGINT)
        _, errors = playground.communicate(timeout=SECONDS)
    assert "It is not decided yet" in seen["carl"]
    assert "It is not decided yet" in seen["ben"]
    assert "It is approved" in seen["anna"]
    assert f"# told by webhook: claim.pending, lock pages: {url}{path}\n" in webhooks
    assert (playground.returncode, errors.strip()) == (0, "Stopped; nothing is left behind.")
    assert nothing_left(playground, scratch)
    with pytest.raises(urllib3.exceptions.HTTPError):
        Browser(url).send("GET", "/healthz")
