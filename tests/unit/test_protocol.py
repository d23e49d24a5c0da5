"""What Concourse sends is checked at the door: every problem at once, each with the way out, never a secret."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approval_resource.errors import ConfigError
from approval_resource.model.event import State
from approval_resource.steps.get import GetParams
from approval_resource.steps.protocol import RequestedVersion, Source, Version, read_request, version_timestamp
from approval_resource.steps.put_params import ACTIONS, AwaitParams, ClaimParams, ReleaseParams, read_put_params
from approval_resource.steps.step import build_of
from approval_resource.strict_options import named_options, read_part

POOL = {"pool": "payments"}


def problems(model: Any, document: object) -> list[str]:
    """What is wrong with the document."""
    try:
        read_part(model, document)
    except ConfigError as wrong:
        return list(wrong.problems)
    return []


def problems_of_put(document: object) -> list[str]:
    """What is wrong with a put's params."""
    with pytest.raises(ConfigError) as wrong:
        read_put_params(document)
    return list(wrong.value.problems)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        (3, timedelta(minutes=3)),
        (0.5, timedelta(seconds=30)),
        ("3", timedelta(minutes=3)),
        ("90m", timedelta(minutes=90)),
        ("24h", timedelta(hours=24)),
        ("1h30m", timedelta(minutes=90)),
        ("45s", timedelta(seconds=45)),
        ("2d", timedelta(days=2)),
    ],
)
def test_durations(text: object, span: timedelta) -> None:
    """Units as people write them; a bare number is minutes, as in the original."""
    assert read_part(GetParams, {"timeout": text}).timeout == span


@pytest.mark.parametrize("text", ["", "soon", "-3m", -3, 0, "0m", "1e999", "nan", "90x", True, [], {}, 10**30, "400d"])
def test_what_is_no_duration_is_refused(text: object) -> None:
    """One line names the option and says what a duration looks like or how long it may be."""
    found = problems(GetParams, {"timeout": text})
    assert len(found) == 1
    assert found[0].startswith("params.timeout: must be")


@pytest.mark.parametrize(("given_", "meant"), [(True, True), ("true", True), ("TRUE", True), (False, False), ("false", False)])
def test_flags_may_be_quoted(given_: object, meant: bool) -> None:
    """People write need_approval: "true"; and "false" means false."""
    assert read_part(GetParams, {"need_approval": given_}).need_approval is meant


@pytest.mark.parametrize("wrong", ["maybe", 1, 0, None, [], "yes please"])
def test_what_is_no_flag_is_refused(wrong: object) -> None:
    """Anything else is an error rather than a guess: a gate hangs on it."""
    assert problems(GetParams, {"need_approval": wrong}) == ["params.need_approval: must be true or false"]


def test_all_problems_are_told_at_once() -> None:
    """A missing option, a misspelt one and two wrong types: four lines."""
    found = problems(Source, {"pol": "x", "wait_lock": "ten", "debug": "perhaps", "AWS_SECRET_KEY": "canary"})
    assert sorted(found) == [
        'source.AWS_SECRET_KEY: unknown option; did you mean "AWS_SECRET_ACCESS_KEY"?',
        "source.debug: must be true or false",
        'source.pol: unknown option; did you mean "pool"?',
        "source.pool: required",
        "source.wait_lock: must be a number, such as 1 or 0.5, without quotes",
    ]


def test_an_option_like_no_other_lists_them_all() -> None:
    """Where no known name is near, all of them are told."""
    [found] = problems(GetParams, {"zzzzzz": 1})
    assert found == "params.zzzzzz: unknown option; use lock_name, need_approval, timeout, timeout_from"


@pytest.mark.parametrize("name", ["", " ", " x", "x ", "a\nb", "a\x00b", "a\u202eb", 5.5, True, None, [], "x" * 501])
def test_names_that_nobody_could_tell_apart_are_refused(name: object) -> None:
    """Empty, padded, with control characters, overlong, or no text at all."""
    assert len(problems(Source, {"pool": name})) == 1


@pytest.mark.parametrize("name", ["deploy", "a/b", "a#b", "ä", "🚀", "a b", "%23"])
def test_ordinary_names_are_taken(name: str) -> None:
    """Slashes, hashes, spaces inside and emoji are fine."""
    assert read_part(Source, {"pool": name}).pool == name


WHOLES = (7, 0, -5, 2024, 123456789012)
"""Numbers as YAML makes them of text that looks like one."""
KINDS: dict[str, set[str]] = {
    "Source": {"pool", "lock_name", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION"}
    | {"endpoint_url", "table", "external_id", "role_session_name", "approve_job", "reject_job"},
    "GetParams": {"lock_name"},
    "ClaimParams": {"lock_name", "description", "payload_file", "policy_file", "facts_file", "claim_key"},
    "ReleaseParams": {"lock_name", "from", "claim_key", "description"},
    "AwaitParams": {"lock_name", "from", "claim_key"},
    "RenewParams": {"lock_name", "from", "claim_key"},
    "DecideParams": {"from", "comment", "comment_file"},
}
"""Each document's options that are text or a name."""
OTHERS: dict[str, set[str]] = {
    "numbers": {"wait_lock", "priority"},
    "flags": {"debug", "need_approval", "override_approval", "wait", "reuse", "force"},
    "durations": {"expires_after", "hold_timeout", "wait_timeout", "timeout"},
    "maps": {"attach", "attach_digest", "verify", "inputs"},
    "what has a form of its own": {
        "action",
        "states",
        "role_arn",
        "ca_certs",
        "policy",
        "payload",
        "facts",
        "as",
        "timeout_from",
    },
}
DOCUMENTS = {model.__name__: model for model in (Source, GetParams, *ACTIONS.values())}


def with_option(model: str, option: str, value: object) -> dict[str, Any]:
    """A document that is right but for that option, perhaps."""
    needed: dict[str, Any] = {"pool": "x"} if model == "Source" else {}
    needed |= {"lock_name": "x"} if model == "ClaimParams" else {}
    needed |= {"from": "x"} if model == "DecideParams" else {}
    needed |= {"action": "x"} if model in (one.__name__ for one in ACTIONS.values()) else {}
    if option.startswith("AWS_") and option != "AWS_DEFAULT_REGION":
        needed |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    if option in ("external_id", "role_session_name"):
        needed["role_arn"] = "arn:aws:iam::123456789012:role/x"
    return needed | {option: value}


def taken(model: str, option: str, value: object) -> object:
    """What that value means, or None if it is refused."""
    try:
        part = read_part(DOCUMENTS[model], with_option(model, option, value))
    except ConfigError:
        return None
    taken: object = getattr(part, named_options(DOCUMENTS[model])[option].name)
    return taken


def test_every_option_is_of_a_known_kind() -> None:
    """A new one is put in its table, and so tried with every spelling."""
    for name, model in DOCUMENTS.items():
        assert set(named_options(model)) <= KINDS[name].union(*OTHERS.values()), name
        assert not KINDS[name].intersection(*OTHERS.values())


@pytest.mark.parametrize(("model", "option"), [(model, option) for model, names in KINDS.items() for option in sorted(names)])
def test_a_number_is_text_where_text_is_meant(model: str, option: str) -> None:
    """lock_name: 2024 is the lock `2024`; a fraction, a flag, a map or a list of them has no one text, so it is refused."""
    for number in WHOLES:
        assert taken(model, option, number) == taken(model, option, str(number))
    assert taken(model, option, 123456789012) == "123456789012"
    for wrong in (1.5, 1.10, 1e21, True, False, {}, {"a": 1}, [1.5], [None], [[1]], ["a", {}]):
        document = with_option(model, option, wrong)
        [line] = problems(DOCUMENTS[model], document)
        assert line.endswith(("must be text; put it in quotes", "must be a path, or a list of paths"))


@pytest.mark.parametrize(
    ("model", "option"),
    [(name, option) for name, model in DOCUMENTS.items() for option in named_options(model) if option in OTHERS["maps"]],
)
def test_a_number_is_text_in_a_map_of_texts(model: str, option: str) -> None:
    """A path called 7; what has no one text is told by its name."""
    assert taken(model, option, {"a": 7, "b": "7"}) == {"a": "7", "b": "7"}
    found = problems(DOCUMENTS[model], with_option(model, option, {"a": 1.5, "b": True, "c": None, "d": []}))
    assert [line.rpartition(": ")[0].rpartition(".")[2] for line in found] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("written", "seconds", "whole"),
    [
        ("5", 5.0, 5),
        (" 10\n", 10.0, 10),
        ("0.5", 0.5, None),
        ("10.0", 10.0, None),
        ("-3", None, -3),
        ("0", None, 0),
        *((wrong, None, None) for wrong in ("", " ", "010", "0x10", "0o10", "1e1", "1_0", "+5", ".5", "5.", "1,5", "5s")),
        *((wrong, None, None) for wrong in ("ten", "true", "\u0665", "NaN", "inf", "9" * 5000, "[5]", "1 0", "- 5")),
    ],
)
def test_text_is_a_number_where_a_number_is_meant(written: str, seconds: float | None, whole: int | None) -> None:
    """As a variable gives it, in plain decimal; with a leading zero nobody knows whether it is octal."""
    for model, option, meant, told in (
        ("Source", "wait_lock", seconds, "source.wait_lock: must be "),
        ("ClaimParams", "priority", whole, "params.priority: must be "),
    ):
        assert taken(model, option, written) == meant
        if meant is None:
            [line] = problems(DOCUMENTS[model], with_option(model, option, written))
            assert line.startswith(told)


@pytest.mark.parametrize(
    ("model", "option"),
    [(name, option) for name, model in DOCUMENTS.items() for option in named_options(model) if option in OTHERS["flags"]],
)
def test_every_flag_may_come_as_text(model: str, option: str) -> None:
    """And as nothing else."""
    for meant in (True, False):
        for written in (meant, str(meant), str(meant).lower(), f" {str(meant).lower()}\n"):
            assert taken(model, option, written) is meant
    for wrong in ("1", "0", 1, 0, "yes", "no", "on", "off", "", "t"):
        assert taken(model, option, wrong) is None


@pytest.mark.parametrize("option", ["states", "policy", "attach", "payload"])
def test_a_list_or_map_does_not_come_as_text(option: str) -> None:
    """JSON in a text may be meant as that text, so it is refused everywhere alike."""
    model = "Source" if option == "states" else "ClaimParams"
    for text in ("[]", '["approved"]', "{}", '{"a": "b"}', "approved"):
        assert len(problems(DOCUMENTS[model], with_option(model, option, text))) == 1


def test_a_list_of_paths_may_have_numbers() -> None:
    """policy_file: [1, b]."""
    assert taken("ClaimParams", "policy_file", [1, "b"]) == ["1", "b"]


# ---- how AWS is reached ------------------------------------------------------------------------

ROLE = "arn:aws:iam::123456789012:role/one"
PEM = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"


def test_a_role_may_be_a_chain() -> None:
    """One ARN or a list; every wrong one is told with its place."""
    for given_, meant in ((ROLE, (ROLE,)), ("", ()), ([], ()), ([ROLE], (ROLE,)), ([ROLE, ROLE + "2"], (ROLE, ROLE + "2"))):
        assert read_part(Source, POOL | {"role_arn": given_}).role_arn == meant
    found = problems(Source, POOL | {"role_arn": [ROLE, "x", 5, "", "arn:aws:iam::٠٢٣٤٥٦٧٨٩٠١٢:role/x"]})
    assert [line.partition(": ")[0] for line in found] == [f"source.role_arn.{number}" for number in (1, 2, 3, 4)]
    assert all("must be a role's ARN, such as arn:aws:iam::123456789012:role/approvals" in line for line in found)


@pytest.mark.parametrize(
    ("option", "right", "wrong"),
    [
        ("external_id", ("ab", "a" * 1224, "x=1,y@z:a/b-_.+", 123456), ("a", "a" * 1225, "a b", "ä" * 3, "a;b", 7, "a\n")),
        ("role_session_name", ("ab", "a" * 64, "me@ci-1_2.x=,+", 2024), ("a", "a" * 65, "a b", "a/b", "a:b", "ää", 7, "a\n")),
    ],
)
def test_a_roles_details_have_the_form_that_aws_wants(
    option: str, right: tuple[object, ...], wrong: tuple[object, ...]
) -> None:
    """By AWS's own rules; without a role they mean nothing."""
    given_ = POOL | {"role_arn": ROLE}
    for value in right:
        assert getattr(read_part(Source, given_ | {option: value}), option) == str(value)
    for value in wrong:
        [line] = problems(Source, given_ | {option: value})
        assert line.startswith(f"source.{option}: must be 2 to ")
    assert problems(Source, POOL | {option: "abc"}) == [
        "source: external_id and role_session_name are for a role that is assumed; give role_arn too"
    ]


def test_ca_certs_are_pem() -> None:
    """A text or a list of texts, each with a certificate or more."""
    for given_, meant in ((PEM, (PEM,)), ([PEM, PEM + PEM], (PEM, PEM + PEM)), ("", ()), ([], ())):
        assert read_part(Source, POOL | {"ca_certs": given_}).ca_certs == meant


@pytest.mark.parametrize(
    "wrong", ["hello", "/etc/ssl/certs/ca.pem", 5, PEM.replace("MAA=", "!"), PEM.replace("\n", "\\n"), " "]
)
def test_what_is_no_pem_is_refused(wrong: object) -> None:
    """By the option's name and the place in its list."""
    [line] = problems(Source, POOL | {"ca_certs": wrong})
    assert line.startswith("source.ca_certs: holds ")
    assert line.endswith("; give it certificates as PEM text")
    [line] = problems(Source, POOL | {"ca_certs": [PEM, wrong]})
    assert line.startswith("source.ca_certs.1: holds ")
    others: tuple[object, ...] = (None, True, {}, [[]], [None], 1.5)
    for worse in others:
        assert len(problems(Source, POOL | {"ca_certs": worse})) == 1


def test_a_private_key_is_no_certificate() -> None:
    """It would be kept where secrets aren't, and is not repeated."""
    key = "-----BEGIN EC PRIVATE KEY-----\nMAA=\n-----END EC PRIVATE KEY-----\n"
    [line] = problems(Source, POOL | {"ca_certs": PEM + key})
    assert line.startswith("source.ca_certs: holds a private key; ")
    assert "MAA" not in line


def test_an_external_id_is_kept_out_of_sight() -> None:
    """Of what is printed, and of the build log."""
    source = read_part(Source, POOL | {"role_arn": ROLE, "external_id": "c4nary-s3cret"})
    assert source.connection.external_id == "c4nary-s3cret"
    assert source.secrets() == ["c4nary-s3cret"]
    assert "c4nary" not in f"{source!r} {source} {source.connection!r}"


@pytest.mark.parametrize("wait", [0, -1, 3601, "1s", True, float("inf")])
def test_wait_lock_is_a_number_of_seconds(wait: object) -> None:
    """More than nothing, an hour at most, no text."""
    [found] = problems(Source, POOL | {"wait_lock": wait})
    assert found.startswith("source.wait_lock: ")


def test_states_are_known_ones() -> None:
    """A wrong one is told with the right ones."""
    assert read_part(Source, POOL | {"states": ["approved", "rejected"]}).states == (State.APPROVED, State.REJECTED)
    [found] = problems(Source, POOL | {"states": ["aproved"]})
    assert found.startswith('source.states: unknown state "aproved"; use held, pending, approved')
    assert problems(Source, POOL | {"states": []}) == ["source.states: must be a list of states, such as [approved]"]


def test_secrets_are_in_no_representation() -> None:
    """Neither source nor connection shows a credential when printed."""
    canary = "c4n4ry-s3cr3t"
    keys = {"AWS_ACCESS_KEY_ID": canary, "AWS_SECRET_ACCESS_KEY": canary, "AWS_SESSION_TOKEN": canary}
    source = read_part(Source, POOL | keys)
    assert source.connection.secret_access_key == canary
    assert source.secrets() == [canary] * 3
    assert canary not in f"{source!r} {source} {source.connection!r} {source.connection}"
    assert canary not in " ".join(problems(Source, keys | {"AWS_SECRET_ACCESS_KEY": [canary], "pool": {"x": canary}}))


@pytest.mark.parametrize(
    ("action", "line"),
    [
        ("clam", 'params.action: unknown action "clam"; use claim, release, await, renew, approve or reject'),
        ("proclaim", 'params.action: unknown action "proclaim"; use claim, release, await, renew, approve or reject'),
        (["claim"], 'params.action: unknown action "["claim"]"; use claim, release, await, renew, approve or reject'),
        (None, "params.action: required; use claim, release, await, renew, approve or reject"),
    ],
)
def test_an_unknown_action_is_told_the_right_ones(action: object, line: str) -> None:
    """Nothing but the actions themselves is taken for one."""
    assert problems_of_put({"action": action}) == [line]


def test_each_action_has_its_own_options() -> None:
    """An option of another action is unknown; the original's params of a put are taken on release."""
    claim = read_put_params({"action": "claim", "lock_name": "x", "attach": {"plan": "p"}})
    assert isinstance(claim, ClaimParams)
    release = read_put_params({"action": "release", "lock_name": "x", "need_approval": "true", "description": "d"})
    assert isinstance(release, ReleaseParams)
    awaited = read_put_params({"action": "await", "from": "gate", "verify": {"plan": "p"}})
    assert isinstance(awaited, AwaitParams)
    assert awaited.from_ == "gate"
    [found] = problems_of_put({"action": "release", "lock_name": "x", "verify": {}})
    assert found.startswith("params.verify: unknown option")
    [found] = problems_of_put({"action": "release", "lock_name": "x", "from_": "gate"})
    assert found == 'params.from_: unknown option; did you mean "from"?'


def test_every_wrong_part_of_a_map_is_told() -> None:
    """Not the first alone."""
    found = problems_of_put({"action": "await", "lock_name": "x", "verify": {"plan": 1.5, "image": "path", "sbom": None}})
    assert found == [f"params.verify.{name}: must be text; put it in quotes" for name in ("plan", "sbom")]


VERSIONS = st.builds(
    Version,
    id=st.uuids().map(str),
    lock_name=st.text(),
    state=st.sampled_from(State),
    timestamp=st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2999, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)


@given(VERSIONS)
def test_a_version_survives_its_round_trip(version: Version) -> None:
    """Concourse hands back what it was given, as strings in JSON."""
    rendered = version.render()
    assert all(isinstance(value, str) for value in rendered.values())
    handed_back = json.loads(json.dumps(rendered))
    assert Version.parse(handed_back) == version
    assert version_timestamp(handed_back) == version.timestamp


@pytest.mark.parametrize(
    "document", [{}, {"timestamp": 5}, {"timestamp": "x"}, {"id": "1", "timestamp": "2026-11-21T12:00:00.000000Z"}, [], "x"]
)
def test_what_is_no_version_is_refused(document: Any) -> None:
    """A get of anything else is an error, not a guess."""
    with pytest.raises(ConfigError):
        Version.parse(document)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("0", datetime(1970, 1, 1, tzinfo=UTC)),
        ("1480514105.5", datetime(2016, 11, 30, 13, 55, 5, 500000, tzinfo=UTC)),
        ("2016-11-30 13:55:05.079579+00:00", datetime(2016, 11, 30, 13, 55, 5, 79579, tzinfo=UTC)),
        ("2016-11-30T13:55:05", datetime(2016, 11, 30, 13, 55, 5, tzinfo=UTC)),
    ],
)
def test_the_originals_timestamps_are_understood(text: str, at: datetime) -> None:
    """check goes on from a version of the original resource, which had only a timestamp, in the forms it wrote."""
    assert version_timestamp({"timestamp": text}) == at


@pytest.mark.parametrize("text", ["", "never", "9" * 400, "12:00"])
def test_a_timestamp_that_tells_no_instant_is_refused(text: str) -> None:
    """One line, whatever it is."""
    with pytest.raises(ConfigError, match=r"version\.timestamp"):
        version_timestamp({"timestamp": text})
    assert read_part(RequestedVersion, {"timestamp": text}).timestamp == text


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'"\\ud800"',
        b'{"a": "\\ud800"}',
        b"[" * 100_000,
        b"9" * 5000,
    ],
)
def test_what_is_no_document_is_refused(text: bytes) -> None:
    """Broken, too deep, or with what can't be kept: one line."""
    with pytest.raises(ConfigError, match=r"^stdin: [^\n]+$"):
        read_request(text)


def test_a_build_is_told_by_the_environment() -> None:
    """Concourse's variables make the build; without BUILD_ID no two runs are the same asker."""
    environ = {"BUILD_ID": "41", "BUILD_NAME": "7", "BUILD_TEAM_NAME": "main", "ATC_EXTERNAL_URL": "https://ci.example/"}
    build = build_of(environ)
    assert build.link == "https://ci.example/builds/41"
    assert str(build) == "main #7"
    assert build.key() == build_of(dict(environ)).key()
    assert build.key("other") != build.key()
    assert build_of({}).key() != build_of({}).key()
