"""What is told stays short and fit to be shown, however long or odd it is what it is told of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from approval_resource.model.claim import Claim
from tests.builders import take
from tests.fuzz.oracle import LINE, LINES, SECONDS, require_fit, require_log, require_refusal
from tests.fuzz.world import Ran, World

LONG = "x" * 100_000


@pytest.fixture
def claim(world: World) -> Claim:
    """One that waits for its decision."""
    return take(world.store, pool=world.pool, lock_name="a")


def run(world: World, script: str, source: Mapping[str, Any], **request: Any) -> Ran:
    """Run that script, and require that it ends in time."""
    ran = world.run(script, json.dumps({"source": {**world.source, **source}, **request}).encode(), {"BUILD_ID": "9"})
    assert ran.seconds < SECONDS, f"it took {ran.seconds:.1f} s"
    return ran


SOURCES: dict[str, Any] = {
    "endpoint_url": f"http://127.0.0.1:1/{LONG}",
    "AWS_DEFAULT_REGION": LONG,
    "role_arn": f"arn:aws:iam::123456789012:role/{LONG}",
    "states": [LONG],
    "table": LONG,
    "pool": LONG,
    "wait_lock": LONG,
    LONG: LONG,
}


@pytest.mark.parametrize("option", SOURCES)
def test_a_source_is_not_repeated_at_length(world: World, option: str) -> None:
    """Values of 100,000 characters are cut short in what is said of them."""
    require_refusal(run(world, "check", {option: SOURCES[option]}).stderr)


PARAMS: dict[str, dict[str, Any]] = {
    "action": {"action": LONG},
    "lock_name": {"action": "claim", "lock_name": LONG},
    "attach name": {"action": "claim", "lock_name": "b", "attach": {LONG: "plan.txt"}},
    "attach path": {"action": "claim", "lock_name": "b", "attach": {"a": LONG}},
    "payload_file": {"action": "claim", "lock_name": "b", "payload_file": LONG},
    "await from": {"action": "await", "lock_name": "b", "from": LONG},
    "release from": {"action": "release", "lock_name": "b", "from": LONG},
    "verify name": {"action": "await", "lock_name": "a", "verify": {LONG: "plan.txt"}},
}


@pytest.mark.parametrize("params", PARAMS)
def test_params_are_not_repeated_at_length(world: World, params: str) -> None:
    """Names, paths and actions of 100,000 characters are cut short in what is said of them."""
    require_refusal(run(world, "out", {}, params=PARAMS[params]).stderr)


@pytest.mark.parametrize("script", ["check", "out"])
def test_a_thousand_problems_are_no_thousand_lines(world: World, script: str) -> None:
    """A document that is something else altogether is refused in lines that somebody may read."""
    many = {f"option{number}": number for number in range(1_000)}
    params = {"action": "claim", "lock_name": "a", "attach": many}
    ran = run(world, script, many if script == "check" else {}, **({"params": params} if script == "out" else {}))
    assert len(ran.stderr.splitlines()) <= LINES


@pytest.mark.parametrize("length", [2_500, 10_000])
def test_an_id_that_is_too_long_is_called_an_id(world: World, claim: Claim, length: int) -> None:
    """Whoever gives a get a version by hand reads what is wrong with it."""
    version = {"id": "x" * length, "lock_name": "a", "state": "pending", "timestamp": f"{claim.changed:%Y-%m-%dT%H:%M:%S.%fZ}"}
    told = run(world, "in", {}, version=version).stderr
    assert "id" in told
    assert "names of pool and lock" not in told


LINES_OF_WORDS: dict[str, tuple[str, ...]] = {
    "id": ("show", LONG),
    "reviewer": ("approve", "ID", "--reviewer", LONG),
    "comment": ("approve", "ID", "--comment", LONG),
    "lock": ("history", "--pool", "POOL", "--lock", LONG),
    "pool": ("audit", "export", "--pool", LONG),
    "new pool": ("pool", "set", LONG, "--retention-days", "1"),
    "audited pool": ("audit", "verify", "--pool", LONG[:1_500]),
    "attachment": ("show", "ID", "--attachment", LONG),
    "table": ("list", "--table", LONG),
    "region": ("list", "--region", LONG),
    "profile": ("list", "--profile", LONG),
    "endpoint": ("list", "--endpoint-url", f"http://127.0.0.1:1/{LONG}"),
    "receipt": ("audit", "verify", "--against", "receipt.json"),
}


@pytest.mark.parametrize("words", LINES_OF_WORDS)
def test_words_are_not_repeated_at_length(world: World, claim: Claim, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is typed, or read from a receipt, is cut short in what is said of it."""
    event = {"pool": world.pool, "timestamp": LONG}
    (world.workspace / "receipt.json").write_text(json.dumps({"event": event}))
    monkeypatch.chdir(world.workspace)
    known = {"ID": claim.id, "POOL": world.pool}
    ran = world.command(*(known.get(word, word) for word in LINES_OF_WORDS[words]))
    assert ran.code == (3 if LINES_OF_WORDS[words][:2] == ("audit", "verify") else 1)
    require_refusal(ran.stderr)


WRONG = [
    ("list", "--a\x1fb"),
    ("a\x1fb",),
    ("list", "--format", "\u202e"),
    ("list", "a\x1fb"),
    ("list", "a\u202eb"),
    ("list", LONG),
    ("list", f"--{LONG}"),
]


@pytest.mark.parametrize(
    "words",
    WRONG,
    ids=lambda words: ascii(words)[:30],
)
def test_what_click_repeats_is_fit_to_be_shown(world: World, words: tuple[str, ...]) -> None:
    """A command line that is wrong is told in lines as any other failure."""
    ran = world.command(*words)
    assert ran.code == 2
    for line in ran.stderr.splitlines():
        require_fit(line)
        assert len(line) <= LINE


@pytest.mark.parametrize("year", ["0300", "0999"])
def test_a_version_of_any_year_sorts_as_time(world: World, claim: Claim, year: str) -> None:
    """From a version before all others, check gives all of them."""
    ran = run(world, "check", {}, version={"timestamp": f"{year}-01-01T00:00:00+00:00"})
    assert [version["id"] for version in json.loads(ran.stdout)] == [claim.id]


# ---- settings of AWS in the environment ---------------------------------------------------


ROLE = {"role_arn": "arn:aws:iam::123456789012:role/x", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
SLOW = "a container's role that can't be asked"
SETTINGS: dict[str, dict[str, str]] = {
    SLOW: {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/x"},
    "a container's role that is elsewhere": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://role.example/x"},
    "half the keys": {"AWS_ACCESS_KEY_ID": "AKIA1"},
    "a token that is no file": {"AWS_ROLE_ARN": ROLE["role_arn"], "AWS_WEB_IDENTITY_TOKEN_FILE": "/no such"},
    "a profile that is not there": {"AWS_PROFILE": "no such"},
    "a profile's command that fails": {"AWS_CONFIG_FILE": "config", "AWS_PROFILE": "fails"},
    "half a profile": {"AWS_CONFIG_FILE": "config", "AWS_PROFILE": "half"},
    "a timeout that is no number": {"AWS_METADATA_SERVICE_TIMEOUT": "x", "AWS_EC2_METADATA_DISABLED": "false"},
    "attempts that are no number": {"AWS_MAX_ATTEMPTS": "x"},
    "a mode that is none": {"AWS_DEFAULTS_MODE": "x"},
    "a file that can't be read": {"AWS_CONFIG_FILE": "broken"},
    "a bundle that is not there": {"AWS_CA_BUNDLE": "/no such"},
}
EACH = [pytest.param(name, marks=pytest.mark.long) if name == SLOW else name for name in SETTINGS]


@pytest.fixture
def config(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files with settings of AWS."""
    (world.workspace / "config").write_text(
        "[profile fails]\ncredential_process = /bin/false\n[profile half]\nrole_arn = arn:aws:iam::123456789012:role/x\n"
    )
    (world.workspace / "broken").write_text("[[[")
    monkeypatch.chdir(world.workspace)


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize("setting", EACH)
def test_settings_of_aws_that_cant_work_are_told(world: World, setting: str) -> None:
    """A worker whose credentials can't be had, or whose settings are wrong, says so in a line."""
    source = ROLE | {"role_arn": ""}
    ran = world.run("check", json.dumps({"source": world.source | source}).encode(), SETTINGS[setting])
    assert ran.code == 1
    assert len(require_log(ran.stderr)) == 1


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize("setting", EACH)
def test_settings_of_aws_that_cant_assume_a_role_are_told(world: World, setting: str) -> None:
    """The same where a role shall be assumed with what the worker has."""
    ran = world.run("check", json.dumps({"source": world.source | ROLE}).encode(), SETTINGS[setting])
    assert ran.code == 1
    assert len(require_log(ran.stderr)) == 1
