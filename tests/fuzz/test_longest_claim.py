"""A claim with the longest of everything that is allowed: it can be kept, shown and brought to any of its ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from approval_resource import pools
from approval_resource.audit import verify as audit
from approval_resource.claims import review as reviews
from approval_resource.errors import ReviewsFullError
from approval_resource.model.claim import MAX_REVIEWS, Claim, Verdict
from approval_resource.model.event import State
from approval_resource.steps.files import MAX_CONTENT, MAX_CONTENTS, MAX_FILES
from approval_resource.steps.put_params import MAX_DESCRIPTION
from approval_resource.store.dynamodb.items import claim_item
from tests.fuzz.oracle import require_answer, require_log
from tests.fuzz.sizes import ITEM, item_size
from tests.fuzz.test_limits import BETWEEN_POOL_AND_LOCK, KEY, LOCK, MAX_REVIEWER, MAX_TYPED, exactly, payload_of
from tests.fuzz.world import Ran, World

CLAIM = 112 * 1024
"""Bytes a claim's item may have at most, by docs/table.md."""
FILE = (MAX_CONTENTS - MAX_CONTENT - 1_000) // MAX_FILES
"""Bytes of each file, so that with the payload they are what one transaction takes on every engine."""
LONG = LOCK * 10_000
VARIABLES = ("ATC_EXTERNAL_URL", "BUILD_TEAM_NAME", "BUILD_PIPELINE_NAME", "BUILD_PIPELINE_INSTANCE_VARS", "BUILD_JOB_NAME")
COMMENT = LOCK * MAX_TYPED


def environment(build: int) -> dict[str, str]:
    """What no Concourse would tell of a build, as long as an environment takes it."""
    own = {name: f"{LONG}{build}" for name in ("BUILD_ID", "BUILD_NAME", "BUILD_CREATED_BY")}
    return dict.fromkeys(VARIABLES, LONG) | own


class Longest:
    """That claim, made by a put, and all that can be done with it."""

    def __init__(self, world: World) -> None:
        self.world = world
        pool, self.lock = exactly(KEY - BETWEEN_POOL_AND_LOCK)
        self.source = world.source | {"pool": pool, "wait_lock": 3600}
        world.pool = pool
        self.names = [f"{LOCK * 49}{number:02}" for number in range(MAX_FILES)]
        for number, name in enumerate(self.names):
            content = name.encode() + bytes([number]) * FILE
            (world.workspace / name).write_bytes(content[:FILE])
        self.payload = payload_of(MAX_CONTENT, LOCK)
        self.asked = {
            "need_approval": True,
            "description": LOCK * MAX_DESCRIPTION,
            "payload": self.payload,
            "attach": {name: name for name in self.names},
            "claim_key": LOCK * 500,
            "expires_after": "366d",
            "hold_timeout": "366d",
            "policy": {
                "required_approvals": 1,
                "rejections_required": 2,
                "valid_for": "366d",
                "inputs": [{"name": name} for name in "ab"],
            },
            "facts": {"a": LOCK},
        }
        self.id = self.put(1, **self.asked)["version"]["id"]

    def put(self, build: int, **params: Any) -> Any:
        """The answer of a put step of that build."""
        given = {"action": "claim", "lock_name": self.lock} | params
        return self.answer("out", {"params": given}, build)

    def answer(self, script: str, request: Mapping[str, Any], build: int) -> Any:
        """What a script answers."""
        ran = self.world.run(script, json.dumps({"source": self.source, **request}).encode(), environment(build))
        assert ran.code == 0, ran.stderr[-1_000:]
        require_log(ran.stderr)
        answer = json.loads(ran.stdout)
        require_answer(script, ran.stdout, answer)
        return answer

    def told(self, *words: str) -> Ran:
        """What a command writes."""
        ran = self.world.command(*words)
        assert ran.code == 0, ran.stderr
        require_log(ran.stderr)
        return ran

    @property
    def claim(self) -> Claim:
        """As it is stored now."""
        claim = self.world.store.claim(self.id)
        assert claim is not None
        return claim

    def fill(self, kind: str) -> int:
        """Review until it holds no more; how many reviews it holds."""
        pools.set_policy(self.world.store, self.world.pool, UNDECIDED, actor="op")
        for number in range(MAX_REVIEWS):
            try:
                self.review(number, kind)
            except ReviewsFullError:
                return number
        return MAX_REVIEWS

    def review(
        self, number: int, kind: str, verdict: Verdict = Verdict.APPROVE, inputs: Mapping[str, str] | None = None
    ) -> None:
        """A review by somebody with the longest identity of that kind."""
        reviewer = {
            "typed": f"typed:{LOCK * (MAX_REVIEWER - 2)}{number:02}",
            "concourse": f"concourse:https://{LOCK * 492}#{LOCK * 515}{number:02}",
            "aws": f"aws:arn:aws:iam::123456789012:user/{'p' * 510}/{'n' * 62}{number:02}",
        }[kind]
        reviews.review(self.world.store, self.id, reviewer=reviewer, verdict=verdict, comment=COMMENT, inputs=inputs or {})

    def decidable(self) -> None:
        """From now on one approval is enough."""
        pools.set_policy(self.world.store, self.world.pool, "", actor="op")


UNDECIDED = json.dumps(
    [{"name": "nobody", "required_approvals": 1, "rejections_required": 20, "approval_rules": [{"user": "aws:nobody"}]}]
)
"""Nobody's word is enough."""


def approved(longest: Longest) -> None:
    longest.decidable()
    filled = [word for name in "ab" for word in ("--input", f"{name}={LOCK * 200}")]
    longest.told("approve", longest.id, "--comment", COMMENT, "--reviewer", LOCK * MAX_REVIEWER, *filled)


def rejected(longest: Longest) -> None:
    reviews.review(longest.world.store, longest.id, reviewer="aws:ann", verdict=Verdict.REJECT)
    longest.decidable()
    longest.told("reject", longest.id, "--comment", COMMENT, "--reviewer", LOCK * MAX_REVIEWER)


def withdrawn(longest: Longest) -> None:
    longest.told("withdraw", longest.id, "--reason", COMMENT, "--reviewer", LOCK * MAX_REVIEWER)


def forced(longest: Longest) -> None:
    longest.told("release", longest.id, "--force", "--reason", COMMENT, "--reviewer", LOCK * MAX_REVIEWER)


def withdrawn_by_its_build(longest: Longest) -> None:
    longest.put(1, action="release", claim_key=longest.asked["claim_key"])


def superseded(longest: Longest) -> None:
    longest.put(2, need_approval=True, override_approval=True)


def expired(longest: Longest) -> None:
    longest.world.time.tick(days=366, seconds=1)
    longest.source |= {"states": ["expired"]}
    (version,) = longest.answer("check", {}, 1)
    assert version["id"] == longest.id


def released(longest: Longest) -> None:
    approved(longest)
    longest.put(1, action="await", claim_key=longest.asked["claim_key"])
    longest.put(1, action="renew", claim_key=longest.asked["claim_key"])
    longest.told("release", longest.id, "--reason", COMMENT, "--reviewer", LOCK * MAX_REVIEWER)


def taken_over(longest: Longest) -> None:
    approved(longest)
    longest.put(1, action="await", claim_key=longest.asked["claim_key"])
    longest.world.time.tick(days=366, seconds=1)
    longest.put(2)


ENDS: dict[str, tuple[Callable[[Longest], None], State]] = {
    "approved": (approved, State.APPROVED),
    "rejected": (rejected, State.REJECTED),
    "withdrawn": (withdrawn, State.WITHDRAWN),
    "withdrawn by its build": (withdrawn_by_its_build, State.WITHDRAWN),
    "forced": (forced, State.WITHDRAWN),
    "superseded": (superseded, State.SUPERSEDED),
    "expired": (expired, State.EXPIRED),
    "released": (released, State.RELEASED),
    "taken over": (taken_over, State.EXPIRED),
}

USUAL = ("rejected", "released", "expired")
"""Those that every run tries."""


@pytest.fixture
def longest(world: World) -> Longest:
    """That claim, pending."""
    return Longest(world)


@pytest.mark.parametrize("end", [end if end in USUAL else pytest.param(end, marks=pytest.mark.long) for end in ENDS])
def test_the_longest_claim_comes_to_any_end(longest: Longest, end: str) -> None:
    """With the most reviews and the longest of everything it can be approved, rejected, freed, replaced and left to expire."""
    longest.fill("typed")
    bring, state = ENDS[end]
    bring(longest)
    claim = longest.claim
    assert claim.state is state
    size = item_size(claim_item(claim))
    assert size < ITEM
    assert audit.verify(longest.world.store, claim.pool).findings == []
    for command in (("list", "--all", "--wide"), ("show",), ("show", "--format", "json"), ("history", "--id")):
        assert longest.id in longest.told(*command, *([] if command[0] == "list" else [longest.id])).stdout
    version = {"id": claim.id, "lock_name": claim.lock_name, "state": state.value}
    longest.answer("in", {"version": version | {"timestamp": f"{claim.changed:%Y-%m-%dT%H:%M:%S.%fZ}"}}, 3)
    got = longest.world.workspace / "gate"
    assert json.loads((got / "payload.json").read_bytes()) == longest.payload
    for name in longest.names:
        assert (got / "attached" / name).read_bytes() == (longest.world.workspace / name).read_bytes()


def test_one_review_too_many_is_refused(longest: Longest) -> None:
    """A part that a claim can't hold is named; people who have reviewed it may still change their verdict, and the claim can still be decided."""
    held = longest.fill("typed")
    assert held >= 12
    with pytest.raises(ReviewsFullError, match=f"already holds {held} people's reviews"):
        longest.review(held, "typed")
    assert len(longest.claim.reviews) == held
    longest.review(held - 1, "typed", Verdict.REJECT)
    assert longest.claim.state is State.PENDING
    reviews.review(longest.world.store, longest.id, reviewer="aws:ann", verdict=Verdict.REJECT)
    assert longest.claim.decided is not None


def test_the_longest_name_of_concourse_can_still_decide(longest: Longest) -> None:
    """A claim that is full of reviews leaves room for it, and stays within the bound until its end."""
    held = longest.fill("typed")
    longest.decidable()
    filled = {"a": LOCK * 200, "b": LOCK * 200}
    longest.review(held, "concourse", inputs=filled)
    longest.put(1, action="await", claim_key=longest.asked["claim_key"])
    longest.world.time.tick(days=366, seconds=1)
    longest.put(2)
    assert longest.claim.state is State.EXPIRED
    assert item_size(claim_item(longest.claim)) <= CLAIM


@pytest.mark.parametrize("kind", ["typed", pytest.param("aws", marks=pytest.mark.long)])
def test_the_longest_claim_stays_under_112_kb(longest: Longest, kind: str) -> None:
    """As docs/table.md and the bound on reviews say, with all that may come to it until its end."""
    longest.fill(kind)
    taken_over(longest)
    size = item_size(claim_item(longest.claim))
    assert size <= CLAIM


def claimed_with(world: World, size: int) -> Ran:
    """Claim with files of that many bytes in all, and with the largest payload."""
    whole, rest = divmod(size, MAX_CONTENT)
    for number in range(whole + 1):
        (world.workspace / f"{number}").write_bytes(bytes([number]) * (MAX_CONTENT if number < whole else rest))
    asked = {"attach": {f"{number}": f"{number}" for number in range(whole + 1)}, "payload": payload_of(MAX_CONTENT)}
    request = {"source": world.source, "params": {"action": "claim", "lock_name": "a"} | asked}
    return world.run("out", json.dumps(request).encode(), {})


def test_the_most_that_is_allowed_is_kept(world: World) -> None:
    """2,900,000 bytes of files and payload are within the limit that is told, so they can be claimed with, on every engine."""
    ran = claimed_with(world, MAX_CONTENTS - MAX_CONTENT)
    assert ran.code == 0, ran.stderr


def test_the_payload_counts_towards_the_most_that_is_allowed(world: World) -> None:
    """One byte more is refused in a line that names the limit."""
    ran = claimed_with(world, MAX_CONTENTS - MAX_CONTENT + 1)
    assert ran.code == 1
    assert f"{MAX_CONTENTS} bytes in all, payload, policy and facts included" in ran.stderr


def test_every_item_has_room_left(longest: Longest) -> None:
    """The lock, the head, the events and the parts of the longest claim are all well below what DynamoDB takes."""
    longest.fill("aws")
    taken_over(longest)
    pages = longest.world.client.get_paginator("scan").paginate(TableName=longest.world.connection.table, ConsistentRead=True)
    sizes = {f"{item['pk']['S']} {item['sk']['S']}": item_size(item) for page in pages for item in page["Items"]}
    assert len(sizes) > MAX_FILES
    assert {name: size for name, size in sizes.items() if size > ITEM * 0.9} == {}
