"""Each limit to the character: what is just allowed is kept, and what is one more is refused in one line that names the limit."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from approval_resource.steps.files import MAX_CONTENT, MAX_CONTENTS, MAX_FILE_NAME, MAX_FILES
from approval_resource.steps.put_params import MAX_DESCRIPTION
from approval_resource.strict_options import MAX_NAME
from tests.fuzz.oracle import require_log
from tests.fuzz.world import Ran, World

LOCK = "🔒"
KEY = 1_024
"""Bytes of DynamoDB's sort key, which holds names percent-encoded: twelve characters for a lock."""
ENCODED = 12
BETWEEN_POOL_AND_LOCK = len("pool##lock#")
AFTER_LOCK = len("#2026-11-21T12:00:00.000000Z")
MAX_TYPED = 255
MAX_REVIEWER = 64


def put(world: World, *, source: dict[str, Any] | None = None, **params: Any) -> Ran:
    """Run a put step."""
    document = {"source": world.source | (source or {}), "params": {"action": "claim", "lock_name": "a"} | params}
    return world.run("out", json.dumps(document).encode(), {"BUILD_ID": "1"})


def done(ran: Ran) -> Any:
    """The answer of a script that did what it was told."""
    assert ran.code == 0, ran.stderr
    return json.loads(ran.stdout)


def refused(ran: Ran, *words: str) -> None:
    """It failed with one line on stderr, which has those words."""
    assert ran.code == 1, ran.stderr
    (line,) = [line for line in require_log(ran.stderr) if not line.startswith(("Claiming the", "Releasing the"))]
    for word in words:
        assert word in line
    assert len(line) < 400


def exactly(length: int) -> tuple[str, str]:
    """A pool's and a lock's name that have that many characters, percent-encoded and together."""
    whole, rest = divmod(length, ENCODED)
    return LOCK * (whole // 3), LOCK * (whole - whole // 3) + "x" * rest


# ---- names ---------------------------------------------------------------------------


@pytest.mark.parametrize(("option", "character"), [("pool", "x"), ("lock_name", "x"), ("claim_key", "x"), ("claim_key", LOCK)])
def test_a_name_may_have_500_characters(world: World, option: str, character: str) -> None:
    """500 are kept as they are, the 501st is refused."""

    def given(length: int) -> Ran:
        part: dict[str, Any] = {option: character * length}
        return put(world, source=part) if option == "pool" else put(world, **part)

    refused(given(MAX_NAME + 1), option, "500")
    done(given(MAX_NAME))


@pytest.mark.parametrize("option", ["pool", "lock_name"])
def test_a_name_that_is_too_long_has_too_many_characters(world: World, option: str) -> None:
    """The limit is told in what people count: characters."""
    refused(put(world, source={option: "x" * (MAX_NAME + 1)}), f"source.{option}", "500 characters")


def test_pool_and_lock_fill_the_key_to_the_character(world: World) -> None:
    """Names of pool and lock, as they stand in a key together, may fill all of its 1,024 characters and no more."""
    room = KEY - BETWEEN_POOL_AND_LOCK
    pool, lock = exactly(room)
    version = done(put(world, source={"pool": pool}, lock_name=lock))["version"]
    assert version["lock_name"] == lock
    for action in ("claim", "release", "await", "renew"):
        refused(put(world, source={"pool": pool}, action=action, lock_name=lock + "x"), "1024 characters", "pool and lock")
    assert done(put(world, source={"pool": pool}, action="release", lock_name=lock))["version"]["state"] == "released"


def test_a_lock_fills_its_index_to_the_character(world: World) -> None:
    """The index over a lock's events has 28 characters beside its name."""
    room = KEY - AFTER_LOCK
    lock = LOCK * (room // ENCODED) + "x" * (room % ENCODED)
    done(put(world, source={"pool": "p"}, lock_name=lock))
    refused(put(world, source={"pool": "p"}, lock_name=lock + "x"), "1024 characters")


@pytest.mark.parametrize("script", ["check", "in"])
def test_too_long_names_are_told_by_every_script(world: World, script: str) -> None:
    """What no key can hold is refused where it is read, too."""
    version = {"id": "1" * 36, "lock_name": LOCK * 200, "state": "held", "timestamp": "2026-11-21T12:00:00.000000Z"}
    for source in ({"pool": LOCK * 200}, {"lock_name": LOCK * 200}):
        request = {"source": world.source | source, "version": version}
        refused(world.run(script, json.dumps(request).encode(), {}), "" if script == "in" else "1024 characters")


# ---- what people write ----------------------------------------------------------------


@pytest.mark.parametrize("character", ["x", LOCK, '"', "\\"])
def test_a_description_may_have_2000_characters(world: World, character: str) -> None:
    """However many bytes they are."""
    description = character * MAX_DESCRIPTION
    claim = world.store.claim(done(put(world, description=description))["version"]["id"])
    assert claim is not None
    assert claim.description == description
    refused(put(world, description=description + "x"), "params.description", "2000 characters")


@pytest.mark.parametrize(
    ("command", "option", "most", "why"),
    [
        ("reject", "--comment", MAX_TYPED, "at most 255 characters, not 256"),
        ("approve", "--comment", MAX_TYPED, "at most 255 characters, not 256"),
        ("withdraw", "--reason", MAX_TYPED, "at most 255 characters, not 256"),
        ("approve", "--reviewer", MAX_REVIEWER, "at most 64 characters"),
    ],
)
def test_what_is_typed_may_be_so_long(world: World, command: str, option: str, most: int, why: str) -> None:
    """Comments, reasons and names: the last character is kept, one more is refused and nothing decided."""
    claim_id = done(put(world, need_approval=True))["version"]["id"]
    too_long = world.command(command, claim_id, option, LOCK * (most + 1))
    refused(too_long, option, why)
    assert world.open_claims()[0].state.value == "pending"
    assert world.command(command, claim_id, option, LOCK * most).code == 0
    claim = world.store.claim(claim_id)
    assert claim is not None
    ruling = claim.decided or claim.ended
    assert ruling is not None
    assert LOCK * most in (ruling.reason, ruling.actor.removeprefix("typed:"))


# ---- what is kept beside a claim -------------------------------------------------------


def test_a_claim_may_have_20_files(world: World) -> None:
    """Files and digests together; one more is refused."""
    files = {f"f{number}": "plan.txt" for number in range(MAX_FILES - 1)}
    refused(put(world, attach=files, attach_digest={"f19": "plan.txt", "f20": "plan.txt"}), "at most 20 files")
    claim_id = done(put(world, attach=files, attach_digest={"f19": "plan.txt"}))["version"]["id"]
    claim = world.store.claim(claim_id)
    assert claim is not None
    assert len(claim.attachments) == MAX_FILES


@pytest.mark.parametrize("character", ["x", LOCK])
def test_a_files_name_may_have_200_bytes(world: World, character: str) -> None:
    """As every file system takes it, and DynamoDB's key, percent-encoded."""
    name = character * (MAX_FILE_NAME // len(character.encode()))
    refused(put(world, attach={name + "x": "plan.txt"}), "at most 200 bytes")
    version = done(put(world, attach={name: "plan.txt"}))["version"]
    got = world.run("in", json.dumps({"source": world.source, "version": version}).encode(), {})
    done(got)
    assert (world.workspace / "gate" / "attached" / name).read_bytes() == b"plan"


def test_a_file_may_have_350000_bytes(world: World) -> None:
    """It is kept byte for byte; one byte more is refused, unless only its digest is asked for."""
    refused(put(world, attach={"f": "over.bin"}), "350001 bytes", "350000", "attach_digest")
    done(put(world, attach={"f": "full.bin"}, attach_digest={"g": "over.bin"}))
    claim = world.open_claims()[0]
    assert world.store.content(claim.id, "attached#f") == (world.workspace / "full.bin").read_bytes()
    assert (claim.attachments["f"].size, claim.attachments["g"].size) == (MAX_CONTENT, MAX_CONTENT + 1)


def test_all_files_may_have_2900000_bytes(world: World) -> None:
    """Together, as one transaction takes them; one byte more is refused."""
    (world.workspace / "part").write_bytes(b"\0" * (MAX_CONTENTS // 10))
    (world.workspace / "byte").write_bytes(b"\0")
    files = {f"f{number}": "part" for number in range(10)}
    refused(put(world, attach=files | {"one": "byte"}), "2900000 bytes", "attach_digest")
    done(put(world, attach=files))


def payload_of(size: int, character: str = "x") -> dict[str, str]:
    """A payload that has that many bytes as JSON, of a character and, where it doesn't come out even, a few others."""
    room = size - len('{"p":""}')
    written = len(json.dumps(character)) - 2
    return {"p": character * (room // written) + "x" * (room % written)}


@pytest.mark.parametrize("option", ["payload", "payload_file"])
@pytest.mark.parametrize("character", ["x", LOCK, '"', "\x1f"])
def test_a_payload_may_have_350000_bytes_as_json(world: World, option: str, character: str) -> None:
    """JSON's escapes included: an emoji counts for twelve. What is kept is what `in` writes."""

    def given(payload: dict[str, str]) -> Ran:
        (world.workspace / "file.json").write_text(json.dumps(payload, ensure_ascii=False))
        return put(world, **({"payload": payload} if option == "payload" else {"payload_file": "file.json"}))

    payload = payload_of(MAX_CONTENT, character)
    over = {"p": payload["p"] + "x"}
    refused(given(over), "params.payload", "350001 bytes", "350000")
    version = done(given(payload))["version"]
    done(world.run("in", json.dumps({"source": world.source, "version": version}).encode(), {}))
    assert json.loads((world.workspace / "gate" / "payload.json").read_bytes()) == payload


def test_a_payload_of_350000_bytes_of_emoji_is_refused(world: World) -> None:
    """It would be three times as long as JSON; the line tells how long."""
    refused(put(world, payload={"p": LOCK * 87_500}), "1050008 bytes as JSON", "350000")


@pytest.mark.parametrize("number", [2**53 + 1, -(2**63) - 1, 10**400, 10**4_299, 1e308, 5e-324, -0.0, 0.1])
def test_a_payload_keeps_its_numbers(world: World, number: float) -> None:
    """Whole numbers of any length, and what floats can hold, come out as they went in."""
    version = done(put(world, payload={"n": number}))["version"]
    done(world.run("in", json.dumps({"source": world.source, "version": version}).encode(), {}))
    got = json.loads((world.workspace / "gate" / "payload.json").read_bytes())["n"]
    assert (repr(got), type(got)) == (repr(number), type(number))


@pytest.mark.parametrize("number", ["0.12345678901234567890123", "1e-400", "12345678901234567890.5"])
def test_a_fraction_that_a_float_cant_hold_is_kept_or_refused(world: World, number: str) -> None:
    """What people approve is what `in` writes; where that can't be, it is refused."""
    (world.workspace / "file.json").write_text(f'{{"n": {number}}}')
    claimed = put(world, payload_file="file.json")
    if claimed.code == 0:
        done(world.run("in", json.dumps({"source": world.source, "version": done(claimed)["version"]}).encode(), {}))
        got = (world.workspace / "gate" / "payload.json").read_bytes()
        assert json.loads(got, parse_float=Decimal)["n"] == Decimal(number)


@pytest.mark.parametrize("number", ["1e400", "-1e999999", "NaN", "Infinity", "9" * 4_301])
def test_a_number_that_cant_be_kept_is_refused(world: World, number: str) -> None:
    """In one line, on stdin and in a payload's file."""
    request = json.dumps({"source": world.source, "params": {"action": "claim", "lock_name": "a", "payload": {"n": 0}}})
    refused(world.run("out", request.replace('{"n": 0}', f'{{"n": {number}}}').encode(), {}), "stdin", "number")
    (world.workspace / "file.json").write_text(f'{{"n": {number}}}')
    refused(put(world, payload_file="file.json"), "params.payload")
    assert world.store.head(world.pool) is None
