"""What Concourse demands of the three scripts, and what a person reads when something is wrong."""

from __future__ import annotations

import io
import json
import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from approval_resource.claims import review as reviews
from approval_resource.model.claim import Claim, Verdict
from approval_resource.model.event import State
from approval_resource.steps import main as steps
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from demo.engine import free_port
from tests.builders import a_build, take
from tests.scripts.conftest import COMMAND, LOCK, POOL, Concourse, Result, Wire, held_by, kept
from tests.scripts.conftest import SCRIPTS as SCRIPTS_DIR

CANARIES = {
    "AWS_ACCESS_KEY_ID": "AKIACANARYCANARY",
    "AWS_SECRET_ACCESS_KEY": "canary/secret+key",
    "AWS_SESSION_TOKEN": "canary-session-token==",
}
SCRIPTS = ["check", "in", "out"]
UNREACHABLE_SECONDS = 10.0


@contextmanager
def standing_in(stdin: bytes, arguments: list[str]) -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """This process as a script's, for a moment."""
    out, err = io.StringIO(), io.StringIO()
    logger = logging.getLogger("approval_resource")
    environment = {"BUILD_ID": "1", "BUILD_TEAM_NAME": "main", "ATC_EXTERNAL_URL": "https://ci.example"}
    with (
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))),
        mock.patch.object(sys, "stdout", out),
        mock.patch.object(sys, "stderr", err),
        mock.patch.object(sys, "argv", ["script", *arguments]),
        mock.patch.dict(os.environ, environment),
        mock.patch.object(logger, "handlers", []),
        mock.patch.object(logger, "level", logger.level),
    ):
        yield out, err


def run(concourse: Concourse, script: str, request: Mapping[str, object] | bytes) -> Result:
    """Run a script with that on stdin, and the directory where it takes one."""
    arguments = [] if script == "check" else [str(concourse.workspace())]
    return concourse.start(script, request, arguments).ends()


def run_here(script: str, request: Mapping[str, object] | bytes, directory: Path) -> Result:
    """The same in this process, for what is refused before anything else can happen; it takes a tenth of the time."""
    stdin = request if isinstance(request, bytes) else json.dumps(request).encode()
    with standing_in(stdin, [] if script == "check" else [str(directory)]) as (out, err):
        code = steps.main(script)
    return Result(code, out.getvalue(), err.getvalue(), directory, 0)


def request_of(script: str, source: Mapping[str, object], version: Mapping[str, str]) -> dict[str, Any]:
    """A request that script would take."""
    params = {"params": {"action": "claim", "lock_name": "another"}} if script == "out" else {}
    return {"source": source} | params | ({} if script == "out" else {"version": version})


def a_version(claim: Claim | None = None) -> dict[str, str]:
    """A claim's newest version, or one of no claim at all."""
    return {
        "id": claim.id if claim else "11111111-1111-4111-8111-111111111111",
        "lock_name": LOCK,
        "state": claim.state.value if claim else "pending",
        "timestamp": f"{claim.changed:%Y-%m-%dT%H:%M:%S.%fZ}" if claim else "2026-11-21T12:00:00.000000Z",
    }


def require_answer(script: str, text: str) -> None:
    """Pass only for what Concourse takes as that script's answer."""
    answer: Any = json.loads(text)
    if script == "check":
        assert isinstance(answer, list)
        versions = answer
    else:
        assert answer.keys() == {"version", "metadata"}
        versions = [answer["version"]]
        assert isinstance(answer["metadata"], list)
        for pair in answer["metadata"]:
            assert pair.keys() == {"name", "value"}
            assert all(isinstance(value, str) for value in pair.values())
    for version in versions:
        assert version
        assert all(isinstance(value, str) for entry in version.items() for value in entry)


# ---- stdout, stderr and exit code ---------------------------------------------------


def test_stdout_is_one_document_of_strings(concourse: Concourse) -> None:
    """Whatever else there is to say goes to stderr, with `debug` too."""
    told = concourse.sourced(debug=True)
    claimed = told.claim(payload={"n": 1, "flag": True})
    results = {"out": claimed, "in": told.get(claimed.version), "check": told.check(claimed.version)}
    for script, result in results.items():
        assert result.code == 0
        assert result.stdout.count("\n") == 1
        assert result.stdout.endswith("\n")
        require_answer(script, result.stdout)
        assert " ms" in result.stderr


@pytest.mark.parametrize(
    ("script", "request_", "told"),
    [
        ("check", {"source": {}}, ["source.pool: required"]),
        ("in", {"source": {"pool": POOL}}, ["version.timestamp: required"]),
        ("check", {"source": {"pol": "x"}}, ['source.pol: unknown option; did you mean "pool"?', "source.pool: required"]),
        (
            "out",
            {
                "source": {"pool": 7.5, "wait_lock": "five", "aws_default_regio": "x", "debug": "perhaps"},
                "params": {"action": "claim", "lock_nam": LOCK, "need_approval": "perhaps", "attach": "plan"},
            },
            [
                "source.pool: must be text; put it in quotes",
                "source.wait_lock: must be a number, such as 1 or 0.5, without quotes",
                "source.debug: must be true or false",
                'source.aws_default_regio: unknown option; did you mean "AWS_DEFAULT_REGION"?',
                "params.lock_name: required",
                "params.need_approval: must be true or false",
                "params.attach: must be a map",
                'params.lock_nam: unknown option; did you mean "lock_name"?',
            ],
        ),
        (
            "in",
            {"source": {"pool": POOL}, "params": {"timeout": "soon", "need_aproval": True}, "version": a_version()},
            [
                "params.timeout: must be a duration such as 90m, 24h or, in minutes, 90",
                'params.need_aproval: unknown option; did you mean "need_approval"?',
            ],
        ),
        (
            "out",
            {"source": {"pool": POOL}, "params": {"action": "clame", "lock_name": LOCK}},
            ['params.action: unknown action "clame"; use claim, release, await, renew, approve or reject'],
        ),
        ("out", {"source": {"pool": POOL}}, ["params.action: required; use claim, release, await, renew, approve or reject"]),
        (
            "out",
            {"source": {"pool": POOL}, "params": {"action": "await", "lock_name": LOCK, "attach": {"a": "b"}}},
            ["params.attach: unknown option; use action, lock_name, from, verify, reuse, timeout, claim_key"],
        ),
        (
            "check",
            {"source": {"pool": POOL, "states": ["aproved"]}, "version": {"timestamp": "yesterday"}},
            ['source.states: unknown state "aproved"; use held, pending', "version.timestamp: must be an instant"],
        ),
    ],
)
def test_every_problem_is_one_line(tmp_path: Path, script: str, request_: dict[str, object], told: list[str]) -> None:
    """All that is wrong is told at once, each in one line that says what to change."""
    result = run_here(script, request_, tmp_path)
    result.refused()
    assert len(result.lines) == len(told)
    for expected in told:
        assert any(line.startswith(expected) for line in result.lines), f"{expected}\n{result.stderr}"


def test_a_resource_with_states_is_never_put_to(concourse: Concourse, store: DynamoStore) -> None:
    """A put's version would hide those before it from check, so such a resource is read-only."""
    put = concourse.sourced(states=["approved"]).put("claim", lock_name=LOCK)
    assert "source.states: a resource with states is read-only" in put.refused()
    assert store.head(POOL) is None


@pytest.mark.parametrize("script", ["in", "out"])
def test_a_script_without_its_directory_says_so(concourse: Concourse, script: str) -> None:
    """Run by hand without the argument that Concourse gives, a script tells its usage."""
    request = request_of(script, concourse.source, a_version())
    assert "the one argument is the build's directory" in concourse.start(script, request, []).ends().refused()


@pytest.mark.parametrize(
    "stdin",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"source": {"pool": "p"}} {}',
        b'{"source": \xff}',
        b'{"source": {"pool": NaN}}',
        b"[" * 100_000,
    ],
    ids=["nothing", "half", "list", "null", "two", "not UTF-8", "NaN", "deep"],
)
def test_garbage_on_stdin_is_one_line(tmp_path: Path, stdin: bytes) -> None:
    """What is no JSON object is named as that, without repeating it."""
    result = run_here("check", stdin, tmp_path)
    result.refused()
    assert len(result.lines) == 1
    assert result.stderr.startswith("stdin: ")


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_script_refuses_what_it_cant_read(concourse: Concourse, script: str) -> None:
    """A script that is given nonsense, or nothing, ends with exit 1 and tells every problem."""
    assert run(concourse, script, b"").refused().startswith("stdin: not a JSON document")
    told = run(concourse, script, {"source": {"pol": "x"}, "params": {"lock_nam": LOCK}}).refused()
    assert 'source.pol: unknown option; did you mean "pool"?' in told
    assert "source.pool: required" in told
    assert script == "check" or "params." in told


def test_a_version_that_nobody_gave_is_refused(concourse: Concourse, store: DynamoStore) -> None:
    """A get takes only versions of its own pool, as the log has them."""
    claim = take(store, 1)
    true = a_version(claim)
    assert concourse.get(true).code == 0
    assert "has no claim" in concourse.sourced(pool="other").get(true).refused()
    assert "has no record" in concourse.get(true | {"timestamp": "2026-01-01T00:00:00.000000Z"}).refused()
    assert "can't be trusted" in concourse.get(true | {"state": "approved"}).refused()
    assert "version: not one that this resource's check gave" in concourse.get(true | {"state": "open"}).refused()


def test_a_one_off_build_can_claim_and_release(concourse: Concourse, store: DynamoStore) -> None:
    """A build without job and pipeline has a claim of its own, and frees it."""
    build = a_build(77, job="", pipeline="")
    version = concourse.claim(build=build).version
    assert concourse.claim(build=build).version == version
    assert concourse.put("release", build=build, lock_name=LOCK).version["id"] == version["id"]
    assert held_by(store) == ""


def test_who_started_the_build_is_shown(concourse: Concourse) -> None:
    """Metadata names requester and build where Concourse tells them, as the log does."""
    claimed = concourse.claim(build=a_build(3, created_by="carol"), description="deploy 1.2")
    assert claimed.metadata["requester"] == "carol"
    assert claimed.metadata["build"] == "https://ci.example/builds/3"
    assert claimed.metadata["state"] == "pending"
    assert claimed.metadata["lock"] == LOCK
    assert len(claimed.metadata["event digest"]) == 64


def test_what_others_wrote_moves_no_cursor(concourse: Concourse, store: DynamoStore) -> None:
    """Control characters in a description, a comment or a name reach neither the log nor metadata."""
    evil = "fine\x1b[2K\x1b]0;x\x07\rAPPROVED\nline‮"
    claim = take(store, 1, description=evil)
    reviews.review(store, claim.id, reviewer="typed:bob\x1b[31m", verdict=Verdict.REJECT, comment=evil)
    version = concourse.versions()[-1]
    got = concourse.get(version)
    shut = concourse.get(version, need_approval=True)
    shut.refused()
    assert len(shut.lines) == 1
    shown = [got.stderr, shut.stderr, *got.metadata.values(), *(pair["value"] for pair in json.loads(got.file("metadata")))]
    for text in shown:
        assert not any(character in text for character in "\x1b\x07\r‮")
    assert "\n" not in got.metadata["description"]


def test_metadata_has_no_mail_addresses(concourse: Concourse, store: DynamoStore) -> None:
    """Build pages may be public: who decided is told without the host of the address."""
    claim = take(store, a_build(1, created_by="carol@example.com"), description="for dan@example.com")
    reviews.review(store, claim.id, reviewer="typed:bob@example.com", verdict=Verdict.APPROVE, comment="ask eve@example.com")
    got = concourse.get(concourse.versions()[-1])
    assert got.metadata["decided by"].startswith("typed:bob@")
    assert "example.com" not in got.stdout
    assert "example.com" not in got.file("metadata")


# ---- secrets ---------------------------------------------------------------------------


def require_no_canary(concourse: Concourse, *results: Result) -> None:
    """Pass only when no credential is in any output or file."""
    written = {path: path.read_bytes() for path in concourse.scratch.rglob("*") if path.is_file()}
    assert sum(path.name == "stderr" for path in written) >= len(results) > 0
    for path, content in written.items():
        for name, canary in CANARIES.items():
            assert canary.encode() not in content, f"{name} in {path}"


@pytest.mark.parametrize("debug", [False, True])
def test_a_step_that_works_tells_no_secret(concourse: Concourse, debug: bool) -> None:
    """Keys and token are used and never shown."""
    told = concourse.sourced(debug=debug, **CANARIES)
    claimed = told.claim()
    results = [claimed, told.get(claimed.version), told.check(claimed.version)]
    assert [result.code for result in results] == [0, 0, 0]
    require_no_canary(concourse, *results)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("UnrecognizedClientException", "AWS refused these credentials"),
        ("InvalidSignatureException", "AWS refused these credentials"),
        ("AccessDeniedException", "this role may not do that"),
        ("ValidationException", "DynamoDB found the request invalid"),
        ("ExpiredTokenException", "the AWS session token has expired"),
    ],
)
def test_a_refusal_that_repeats_secrets_is_not_repeated(concourse: Concourse, wire: Wire, code: str, told: str) -> None:
    """One line says what AWS refused, and nothing of what AWS echoes."""

    def refuse(headers: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        echo = " ".join([*headers.values(), *CANARIES.values()])
        return 400, {"__type": f"com.amazon.coral.service#{code}", "message": f"The request with {echo} is refused"}

    wire.refusal = refuse
    result = concourse.sourced(endpoint_url=wire.url, debug=True, **CANARIES).put("claim", lock_name=LOCK)
    assert told in result.refused()
    assert sum(told in line for line in result.lines) == 1
    require_no_canary(concourse, result)


def test_a_misplaced_secret_is_not_repeated(concourse: Concourse) -> None:
    """A credential of the wrong type, or under a misspelt name, is refused by its name alone."""
    source = concourse.source | {
        "AWS_SECRET_ACESS_KEY": CANARIES["AWS_SECRET_ACCESS_KEY"],
        "AWS_SESSION_TOKEN": [CANARIES["AWS_SESSION_TOKEN"]],
        "AWS_ACCESS_KEY_ID": {"key": CANARIES["AWS_ACCESS_KEY_ID"]},
        "debug": True,
    }
    result = run(concourse, "check", {"source": source})
    assert 'did you mean "AWS_SECRET_ACCESS_KEY"?' in result.refused()
    assert len(result.lines) == 3
    require_no_canary(concourse, result)


# ---- the store can't be asked -----------------------------------------------------------


@pytest.mark.long
def test_an_endpoint_that_is_not_there_is_one_line(concourse: Concourse) -> None:
    """Every script gives up soon on an address where nobody ever answered, and says which it is."""
    url = f"http://127.0.0.1:{free_port()}"
    source = concourse.sourced(endpoint_url=url, **CANARIES).source
    started = [
        concourse.start(
            script, request_of(script, source, a_version()), [] if script == "check" else [str(concourse.workspace())]
        )
        for script in SCRIPTS
    ]
    results = [running.ends() for running in started]
    for result in results:
        result.refused()
        assert "can't reach" in result.lines[-1]
        assert url in result.lines[-1]
        assert len([line for line in result.lines if not line.startswith("Claiming")]) == 1
        assert result.seconds < UNREACHABLE_SECONDS
    require_no_canary(concourse, *results)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"AWS_DEFAULT_REGION": None}, "no AWS region is set"),
        ({"AWS_DEFAULT_REGION": "not a region"}, "region"),
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "no AWS credentials were found"),
        ({"AWS_SECRET_ACCESS_KEY": None}, "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": None}, "AWS_ACCESS_KEY_ID"),
        ({"endpoint_url": "not a url"}, "endpoint_url"),
        ({"endpoint_url": "localhost:8000"}, "endpoint_url"),
        ({"endpoint_url": "http://127.0.0.1:99999"}, "endpoint_url"),
        ({"endpoint_url": "http://127.0.0.1:port"}, "endpoint_url"),
        ({"endpoint_url": "http://user:c4n4ry@127.0.0.1:1"}, "endpoint_url: must be"),
        ({"endpoint_url": "ftp://127.0.0.1:1"}, "endpoint_url"),
        ({"role_arn": "not an arn"}, "source.role_arn: must be a role's ARN"),
        (
            {"role_arn": "arn:aws:iam::123456789012:role/x", "AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
            "no AWS credentials were found",
        ),
        ({"AWS_SESSION_TOKEN": "x", "AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "AWS_SESSION_TOKEN"),
    ],
)
def test_a_connection_that_cant_work_is_one_line(
    concourse: Concourse, tmp_path: Path, changes: dict[str, object], told: str
) -> None:
    """What is missing or malformed is told at once, with where to set it."""
    result = run_here("check", {"source": concourse.sourced(**changes).source}, tmp_path)
    assert told in result.refused()
    assert len(result.lines) == 1
    assert "c4n4ry" not in result.stderr


@pytest.mark.parametrize(
    ("script", "request_", "told"),
    [
        ("check", {"version": {"timestamp": "0001-01-01T00:00:00+10:00"}}, "version.timestamp: must be an instant"),
        ("check", {"version": {"timestamp": "9999-12-31T23:59:59-10:00"}}, "version.timestamp: must be an instant"),
        ("in", {"version": "A", "params": {"timeout": "1e999999"}}, "params.timeout: must be"),
        ("in", {"version": "A", "params": {"timeout": "1e-400"}}, "params.timeout: must be"),
        *[
            ("out", {"params": {"action": "claim", "lock_name": "x", **option}}, told)
            for name in ("pipe", "loop", "dir")
            for option, told in (
                ({"attach": {"x": name}}, "params.attach.x: "),
                ({"attach_digest": {"x": name}}, "params.attach_digest.x: "),
                ({"payload_file": name}, "params.payload_file: "),
            )
        ],
        *[("out", {"params": {"action": "await", "from": name}}, "params.from: ") for name in ("loop", "dir", "odd")],
    ],
    ids=str,
)
def test_what_nobody_would_think_of_is_one_line(
    concourse: Concourse, tmp_path: Path, script: str, request_: dict[str, Any], told: str
) -> None:
    """Instants at the end of time, numbers beyond numbers, pipes, loops and directories where files belong."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dir").mkdir()
    (tmp_path / "odd").mkdir()
    os.mkfifo(tmp_path / "odd" / "id")
    if request_.get("version") == "A":
        request_ = request_ | {"version": a_version()}
    result = run_here(script, {"source": concourse.source} | request_, tmp_path)
    assert result.refused().startswith(told)
    assert len(result.lines) == 1


def test_what_cant_be_written_is_one_line(concourse: Concourse, store: DynamoStore) -> None:
    """A directory that is none."""
    version = a_version(take(store, 1))
    request = {"source": concourse.source, "version": version}
    nowhere = concourse.start("in", request, ["/dev/null/x"]).ends()
    assert nowhere.refused() == "can't read or write /dev/null/x: Not a directory\n"


@pytest.mark.skipif("APPROVAL_SCRIPTS_COMMAND" in os.environ, reason="a container's runtime stands between a script and these")
def test_streams_that_are_closed_or_full_end_it(concourse: Concourse) -> None:
    """In an exit code and maybe a line, not in a traceback."""
    document = json.dumps({"source": concourse.source})
    command = shlex.join([*COMMAND, str(SCRIPTS_DIR / "check")])
    for redirected in (f"{command} <&-", f"printf %s {shlex.quote(document)} | {command} >/dev/full"):
        ran = subprocess.run(["bash", "-c", redirected], capture_output=True, text=True, timeout=30, check=False)
        assert ran.returncode in (1, 143)
        assert "Traceback" not in ran.stderr


def test_names_of_a_build_that_are_no_text_are_made_text(concourse: Concourse, store: DynamoStore) -> None:
    """Bytes that are no UTF-8, line breaks and overlong names of teams and jobs can be claimed with, and read again."""
    names = {"BUILD_PIPELINE_NAME": os.fsdecode(b"\xff\xfe"), "BUILD_JOB_NAME": "a\nb", "BUILD_TEAM_NAME": "t" * 10_000}
    request = {"source": concourse.source, "params": {"action": "claim", "lock_name": "deploy"}}
    result = concourse.start("out", request, [str(concourse.workspace())], 1, **names).ends()
    build = kept(store, result.version).build
    assert (build.pipeline, build.job) == ("\ufffd\ufffd", "a b")
    assert len(build.team) < 600


def test_a_script_without_a_region_says_so(concourse: Concourse) -> None:
    """The region is the one thing of a connection that nothing but the source can tell a worker's container."""
    result = concourse.sourced(AWS_DEFAULT_REGION=None).check()
    assert "no AWS region is set" in result.refused()
    assert len(result.lines) == 1
    assert result.seconds < UNREACHABLE_SECONDS


def test_a_missing_table_that_may_not_be_made_is_one_line(concourse: Concourse, wire: Wire) -> None:
    """A role that may not create the table is told who makes it, and how."""

    def refuse(headers: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        create = headers["X-Amz-Target"].endswith("CreateTable")
        kind = "AccessDeniedException" if create else "ResourceNotFoundException"
        return 400, {"__type": f"com.amazon.coral.service#{kind}", "message": "Requested resource not found"}

    wire.refusal = refuse
    there = concourse.sourced(endpoint_url=wire.url)
    looked = there.check()
    assert (looked.code, looked.answer) == (0, [])
    assert [("approvals init" in line, line.startswith("nothing has happened yet: table ")) for line in looked.lines] == [
        (True, True)
    ]
    assert "CreateTable" not in wire.operations
    result = there.claim()
    assert "approvals init" in result.refused()
    assert len(result.lines) == 2  # the first says what it is about to claim
    assert wire.operations.count("CreateTable") == 1


# ---- anything on stdin --------------------------------------------------------------------


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from(["", " ", "a\nb", "\0", "\ud800", "../..", "x" * 600, "1e999", "true", -1, 10**400])
)
JUNK = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3))
NAMES = st.sampled_from(["a", "b", "ünï/#%", "x" * 300]) | st.text(max_size=30)
FLAGS = st.sampled_from([True, False, "true", "False"])
PATHS = st.sampled_from([".", "gate", "file", "../x", "/etc/passwd", "a\0b", "", "x" * 300])
SPANS = st.sampled_from([1, 0.5, "90m", "1h30m", "0", "-1", "1e9", "1d"])
FILES = st.dictionaries(st.sampled_from(["plan", "../plan", "", "x" * 300, "ünï"]), PATHS, max_size=2)
BOTH = {"lock_name": NAMES, "claim_key": st.text(max_size=10), "from": PATHS}
PARAMS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "claim": {
        "lock_name": NAMES,
        "need_approval": FLAGS,
        "description": st.text(max_size=50),
        "payload": JUNK,
        "payload_file": PATHS,
        "override_approval": FLAGS,
        "attach": FILES,
        "attach_digest": FILES,
        "claim_key": st.text(max_size=10),
        "wait": st.sampled_from([False, "false", None, 3]),
    },
    "release": BOTH | {"need_approval": FLAGS, "description": JUNK},
    "await": BOTH | {"verify": FILES, "reuse": FLAGS, "timeout": SPANS},
}


def mostly(usual: st.SearchStrategy[Any], *rare: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The usual, and now and then one of the rare."""
    return st.sampled_from([usual] * 3 * len(rare) + [*rare]).flatmap(lambda chosen: chosen)


def some_of(options: Mapping[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """A map with a few of these options, now and then with values, or a name, that make no sense."""
    one = st.one_of(*[st.fixed_dictionaries({name: values}) for name, values in options.items()])
    few = st.lists(one, max_size=3).map(lambda given: {name: value for each in given for name, value in each.items()})
    odd = {name: (values if name == "wait" else values | JUNK) for name, values in options.items()}
    return mostly(few, st.fixed_dictionaries({}, optional=odd | {"loc_name": JUNK}))


def acting(action: str, given: dict[str, Any]) -> dict[str, Any]:
    """Params of that action, of a lock that can be claimed unless they name one."""
    return {"action": action, "lock_name": "a"} | given


def put_params() -> st.SearchStrategy[dict[str, Any]]:
    """Params of a put, mostly of an action that there is."""
    actions = [some_of(PARAMS[action]).map(partial(acting, action)) for action in PARAMS]
    return mostly(st.one_of(*actions), some_of({"action": JUNK, "lock_name": NAMES}))


@pytest.fixture
def known(store: DynamoStore) -> dict[str, str]:
    """The version of a claim that there is."""
    return a_version(take(store, 1, need_approval=False, pool="known"))


@pytest.mark.long
@pytest.mark.parametrize("script", SCRIPTS)
def test_anything_on_stdin_gives_an_answer_or_lines(
    script: str, connection: Connection, known: dict[str, str], tmp_path: Path
) -> None:
    """Any JSON document ends in an answer that Concourse takes, or in exit 1 with lines for a person; never in a traceback."""
    good = {
        "AWS_ACCESS_KEY_ID": connection.access_key_id,
        "AWS_SECRET_ACCESS_KEY": connection.secret_access_key,
        "AWS_DEFAULT_REGION": connection.region,
        "endpoint_url": connection.endpoint_url,
        "table": connection.table,
    }
    # A pool of its own for each put, so that no lock is held and nothing waits.
    pools = st.builds(lambda: f"{uuid4()}") if script == "out" else st.just("known")
    options = {
        "debug": FLAGS,
        "lock_name": NAMES,
        "wait_lock": st.sampled_from([0.05, 1]),
        "states": st.lists(st.sampled_from([*State, "open"]), max_size=2),
    }
    sources = st.builds(
        lambda given, pool: given | good | {"pool": pool}, some_of(options), mostly(pools, st.sampled_from(["", " ", 7, None]))
    )
    timestamps = st.sampled_from([known["timestamp"], "2016-11-30 13:55:05.079579+00:00", "0", "1e5", "9" * 40])
    options = {
        "id": st.just(known["id"]) | NAMES,
        "lock_name": st.just(LOCK) | NAMES,
        "state": st.sampled_from(list(State)),
        "timestamp": timestamps,
    }
    versions = mostly(st.just(known), some_of(options).map(lambda given: known | given), some_of(options))
    get_params = some_of({"lock_name": st.just(LOCK) | NAMES, "need_approval": FLAGS, "timeout": SPANS})
    params = put_params() if script == "out" else get_params
    parts = {"source": sources, "params": params, "version": versions}
    broken = st.fixed_dictionaries({}, optional={name: part | JUNK for name, part in parts.items()})
    requests = mostly(st.fixed_dictionaries(parts), broken, JUNK)
    arguments = [] if script == "check" else [str(tmp_path)]
    (tmp_path / "file").write_text("text")
    answered = 0

    @settings(
        max_examples=50,
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(request=requests)
    def any_document(request: object) -> None:
        nonlocal answered
        stdin = json.dumps(request).encode()
        with standing_in(stdin, arguments) as (out, err):
            code = steps.main(script)
        assert "Traceback" not in err.getvalue()
        if code == 0:
            require_answer(script, out.getvalue())
            answered += 1
        else:
            assert code == 1
            assert out.getvalue() == ""
            assert err.getvalue().strip()

    any_document()
    assert answered, "no example was a request that can be answered"


def test_the_example_claims_are_real(concourse: Concourse, store: DynamoStore) -> None:
    """A version made from a claim in these tests is the one that check gives for it."""
    claim = take(store, 1)
    assert concourse.versions() == [a_version(claim)]
    assert kept(store, a_version(claim)) == claim
