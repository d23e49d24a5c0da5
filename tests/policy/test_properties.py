"""What holds of any policy, any reviews, any facts and any instant."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from approval_resource.errors import ConfigError
from approval_resource.model.claim import Review, Verdict
from approval_resource.policy.authoring.trial import document_of
from approval_resource.policy.decision import Approved, Decision, Rejected, Undecidable, Waiting
from approval_resource.policy.evaluate import evaluate
from approval_resource.policy.language.document import Policy
from approval_resource.policy.language.load import load
from approval_resource.policy.people import Roster
from tests.builders import NOON
from tests.policy.asking import ANA, BOB, CAROL, DAN, Document, answer, approval, asked, facts, policy, rejection, says
from tests.policy.making import KINDS

LAPTOP = "oidc:https://login.example/ana"
IDENTITIES = (ANA, BOB, CAROL, DAN, LAPTOP, "aws:eve", "typed:ana", "typed:bob")
PEOPLE = {"ana": [ANA, LAPTOP], "bob": [BOB, "concourse:bobby"]}
NAMED = ("ana", "bob", CAROL, DAN, "aws:eve")
LABELS = ("one", "two", "three")
CHECKED = settings(deadline=None, database=None, derandomize=True, max_examples=150, suppress_health_check=list(HealthCheck))


@st.composite
def documents(draw: st.DrawFn, *, delegates: bool = True, rules: bool | None = None) -> Document:
    """A policy of quorum or rules, with groups and people, and maybe with who stands in for whom."""
    found: Document = {"people": PEOPLE, "groups": {}, "per_rule": draw(st.booleans())}
    for group in ("qa", "ops"):
        found["groups"][group] = draw(st.lists(st.sampled_from(NAMED), unique=True, max_size=4))
    with_rules = draw(st.booleans()) if rules is None else rules
    if with_rules:
        found["approval_rules"] = [
            {"name": label, "group": draw(st.sampled_from(("qa", "ops"))), "count": draw(st.integers(1, 2))}
            if draw(st.booleans())
            else {"name": label, "user": draw(st.sampled_from(NAMED))}
            for label in LABELS[: draw(st.integers(1, 3))]
        ]
    if not with_rules or draw(st.booleans()):
        found["required_approvals"] = draw(st.integers(1, 3))
    found["allow_self_approval"] = draw(st.booleans())
    if delegates:
        pairs = draw(st.lists(st.tuples(st.sampled_from(NAMED), st.sampled_from(NAMED)), max_size=2))
        found["delegates"] = [
            {"person": person, "delegate": other, "from": "2026-01-01", "until": "2026-12-31"}
            for person, other in pairs
            if person != other
        ]
    return found


def reviews(verdicts: tuple[Verdict, ...] = tuple(Verdict)) -> st.SearchStrategy[list[Review]]:
    """At most one review by each identity."""
    one = st.builds(
        Review,
        reviewer=st.sampled_from(IDENTITIES),
        verdict=st.sampled_from(verdicts),
        at=st.integers(0, 3).map(lambda minutes: NOON + timedelta(minutes=minutes)),
        represented_as=st.lists(st.sampled_from(LABELS), unique=True, max_size=2).map(tuple),
    )
    return st.lists(one, unique_by=lambda review: review.reviewer, max_size=6)


APPROVALS = reviews((Verdict.APPROVE,))
REQUESTERS = st.sampled_from(("ana", "bobby", "dan", "zoe"))


def decision(document: Document, given_reviews: list[Review], requester: str) -> Decision:
    """What that policy says of those reviews."""
    return asked(policy(**document), *given_reviews, requester=requester)


def another_changes_nothing(document: Document, before: list[Review], new: Review, requester: str) -> None:
    """Require that what was approved is so too with one more person's approval."""
    roster = Roster(policy(**document), requester)
    assume(roster.person(new.reviewer) not in {roster.person(review.reviewer) for review in before})
    if isinstance(decision(document, before, requester), Approved):
        assert isinstance(decision(document, [*before, new], requester), Approved)


@CHECKED
@given(documents(delegates=False), APPROVALS, APPROVALS, REQUESTERS)
def test_another_persons_approval_never_takes_an_approval_back(
    document: Document, before: list[Review], more: list[Review], requester: str
) -> None:
    """Under quorum and rules, with groups, per_rule and rules chosen by name."""
    for new in more:
        another_changes_nothing(document, before, new, requester)


def test_an_approval_by_who_was_stood_in_for_never_takes_an_approval_back() -> None:
    """Ana's delegate had approved for rule two in her name; that she approves as well, for rule one, leaves two without."""
    document: Document = {
        "approval_rules": [{"name": "one", "group": "qa"}, {"name": "two", "user": "ana"}],
        "groups": {"qa": ["ana", CAROL]},
        "people": PEOPLE,
        "delegates": [{"person": "ana", "delegate": "bob", "from": "2026-01-01", "until": "2026-12-31"}],
    }
    before = [approval(CAROL), approval(BOB, represented_as=("two",))]
    assert isinstance(decision(document, before, "zoe"), Approved)
    assert isinstance(decision(document, [*before, approval(ANA)], "zoe"), Approved)


@CHECKED
@given(documents(), APPROVALS, APPROVALS, REQUESTERS)
def test_another_persons_approval_never_rejects(
    document: Document, before: list[Review], more: list[Review], requester: str
) -> None:
    """Nor makes it undecidable, whoever stands in for whom."""
    for new in more:
        assert isinstance(decision(document, [*before, new], requester), Approved | Waiting)


@CHECKED
@given(documents(), reviews(), REQUESTERS, st.randoms(use_true_random=False))
def test_the_order_of_reviews_doesnt_matter(
    document: Document, given_reviews: list[Review], requester: str, chance: random.Random
) -> None:
    """Neither for the decision nor for how it is explained."""
    shuffled = list(given_reviews)
    chance.shuffle(shuffled)
    assert document_of(decision(document, given_reviews, requester)) == document_of(decision(document, shuffled, requester))


@CHECKED
@given(documents(rules=False), APPROVALS, REQUESTERS, st.sampled_from(("aws:new", "typed:new")))
def test_a_rejection_that_counts_always_wins_under_a_quorum(
    document: Document, before: list[Review], requester: str, who: str
) -> None:
    """Whoever approved: anybody may reject."""
    assert isinstance(decision(document, [*before, rejection(who, NOON + timedelta(hours=1))], requester), Rejected)


@CHECKED
@given(documents(rules=True), APPROVALS, REQUESTERS)
def test_a_rejection_by_somebody_named_always_wins_under_rules(
    document: Document, before: list[Review], requester: str
) -> None:
    """And one by a stranger changes nothing, where no quorum listens to everybody."""
    one = policy(**document)
    named = {Roster(one).person(rule.user) for rule in one.approval_rules if rule.user}
    said = [rejection({"ana": ANA, "bob": BOB}.get(name, name), NOON + timedelta(hours=1)) for name in sorted(named)[:1]]
    rest = [review for review in before if not said or Roster(one).person(review.reviewer) != sorted(named)[0]]
    if said:
        assert isinstance(decision(document, [*rest, *said], requester), Rejected)
    if one.required_approvals is None:
        stranger = rejection("aws:stranger")
        assert type(decision(document, before, requester)) is type(decision(document, [*before, stranger], requester))


@CHECKED
@given(documents(), st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=6, unique=True), APPROVALS, REQUESTERS)
@pytest.mark.long
def test_typed_names_never_count_as_two_and_satisfy_no_rule(
    document: Document, names: list[str], before: list[Review], requester: str
) -> None:
    """However many there are, they are worth what one is; under rules, nothing."""
    known = [review for review in before if not review.reviewer.startswith("typed:")]
    typed = [approval(f"typed:{name}") for name in names]
    assert type(decision(document, [*known, *typed], requester)) is type(decision(document, [*known, typed[0]], requester))
    if "required_approvals" not in document:
        assert type(decision(document, [*known, *typed], requester)) is type(decision(document, known, requester))
    if document.get("required_approvals", 0) > 1 or "approval_rules" in document:
        assert isinstance(decision(document, typed, requester), Waiting)


# ---- any policy, any facts, any instant -------------------------------------------------

FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
INSTANTS = st.one_of(
    st.sampled_from((FIRST, LAST, NOON, datetime(1969, 12, 31, tzinfo=UTC))),
    st.datetimes(timezones=st.just(UTC)),
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(("run", "env", "a", "b", "reviews", "")), inner, max_size=3)
    ),
    max_leaves=8,
)
GIVEN = st.dictionaries(
    st.sampled_from(("run", "stack", "build", "claim", "env", "a", "reviews", "pool", "x")), JSON, max_size=4
)
ANY_REVIEW = st.builds(
    Review,
    reviewer=st.sampled_from(IDENTITIES) | st.text(max_size=8),
    verdict=st.sampled_from(Verdict),
    comment=st.text(max_size=8),
    at=INSTANTS,
    represented_as=st.lists(st.text(max_size=3), max_size=2).map(tuple),
    forced=st.booleans(),
    inputs=st.dictionaries(st.sampled_from(("v", "w")), st.text(max_size=5), max_size=2),
)


def made(kind: str, chance: random.Random) -> list[Policy]:
    """The policies of a document of that kind, if it is none that is refused."""
    try:
        return [one.policy for one in load(KINDS[kind](chance), "p")]
    except ConfigError:
        return []


@pytest.mark.parametrize("kind", ["quorum", "rules", "conditions", "windows", "mixed"])
@pytest.mark.long
def test_evaluate_raises_nothing_and_says_the_same_again(kind: str) -> None:
    """Whatever is asked: a decision of one of the four kinds, explained in words that can be shown."""

    @CHECKED
    @example(random.Random(1), [], {}, FIRST, FIRST, "")  # noqa: S311 - the same each time
    @example(random.Random(2), [approval(ANA, LAST)], {}, LAST, LAST, "ana")  # noqa: S311
    @given(
        st.randoms(use_true_random=False),
        st.lists(ANY_REVIEW, max_size=4),
        GIVEN,
        INSTANTS,
        INSTANTS,
        st.sampled_from(("", "ana", "bobby", "\x1b")),
    )
    def tried(
        chance: random.Random, said: list[Review], given_facts: Document, created: datetime, now: datetime, requester: str
    ) -> None:
        policies = made(kind, chance)
        told = facts(given=given_facts, created_at=created, requester=requester)
        first = evaluate(policies, told, said, now)
        assert isinstance(first, Approved | Waiting | Rejected | Undecidable)
        assert first == evaluate(policies, told, said, now)
        document_of(first)
        assert all(reason for reason in first.reasons)

    tried()


@settings(CHECKED, max_examples=12)
@given(st.randoms(use_true_random=False), st.lists(ANY_REVIEW, max_size=3), GIVEN, INSTANTS)
def test_evaluate_raises_nothing_with_rego_either(
    chance: random.Random, said: list[Review], given_facts: Document, now: datetime
) -> None:
    """In a process each, hence fewer."""
    policies = made("rego", chance)
    told = facts(given=given_facts, created_at=now)
    assert evaluate(policies, told, said, now) == evaluate(policies, told, said, now)


@settings(CHECKED, max_examples=100)
@given(st.lists(documents(), min_size=1, max_size=3), reviews(), REQUESTERS)
def test_several_documents_approve_where_each_does_and_reject_where_any_does(
    several: list[Document], said: list[Review], requester: str
) -> None:
    """No document is overruled by another."""
    policies = [policy(**one) for one in several]
    each = [asked(one, *said, requester=requester) for one in policies]
    together = asked(policies, *said, requester=requester)
    assert isinstance(together, Approved) == all(isinstance(one, Approved) for one in each)
    assert isinstance(together, Rejected) == any(isinstance(one, Rejected) for one in each)


# ---- what a pipeline can't say ------------------------------------------------------------

FORBIDDEN = (
    "reviews",
    "reviews.current",
    "reviews.current.approvals",
    "reviews.current.rejections",
    "reviews.older",
    "request",
    "request.timestamp_ns",
    "requester",
    "run.id",
    "run.state",
    "run.created_at",
    "run.creator_session",
    "run.creator_session.login",
    "run.creator_session.teams",
    "stack.name",
    "claim",
    "claim.id",
    "claim.lock_name",
    "claim.description",
    "claim.created_at",
    "claim.requester",
    "claim.payload_digest",
    "claim.more",
    "pool",
    "pool.name",
    "pool.more",
    "attached",
    "build.url",
    "build.team",
    "build.pipeline",
    "build.instance_vars",
    "build.job",
    "build.id",
    "build.name",
    "build.link",
    "build.created_by",
)
CLAIM = facts(build={name: name for name in ("url", "team", "pipeline", "instance_vars", "job", "id", "name", "link")})
FORGED: tuple[Any, ...] = ("forged", [{"author": "forged"}], {"login": "forged"}, 7, True, None)


def nested(path: str, value: Any) -> Document:
    """A map in which that value stands at that path."""
    found: Document = reduce(lambda inner, step: {step: inner}, reversed(path.split(".")), value)
    return found


def whole(told: Any) -> Document:
    """The input document with one approval."""
    roster = Roster(policy(required_approvals=1, people=PEOPLE), told.requester)
    document: Document = told.document(roster, roster.voices([approval(BOB)]), NOON)
    return document


@pytest.mark.parametrize("requester", ["", "ana"])
@pytest.mark.parametrize("path", FORBIDDEN)
def test_what_a_pipeline_gives_cant_change_what_is_known(path: str, requester: str) -> None:
    """At each path that is not for a pipeline to say, the input document stays what it was."""
    told = replace(CLAIM, requester=requester)
    for forged in FORGED:
        for given_facts in (nested(path, forged), {path: forged}):
            document = whole(replace(told, given=given_facts))
            assert {**document, path: None} == {**whole(told), path: None}
            if "." not in path:
                assert document.get(path) == whole(told).get(path)
    for part in ("run", "stack", "build", "claim", "pool", "request", "reviews", "attached"):
        assert whole(replace(told, given={part: "no map"})) == whole(told)


@pytest.mark.parametrize("path", [path for path in FORBIDDEN if "." in path])
def test_conditions_dont_see_what_a_pipeline_forged(path: str) -> None:
    """Neither as a map nor under a key with a dot in it."""
    one = policy(conditions={path: "forged"}, on_policy_success="approve", on_policy_fail="manual")
    for given_facts in (nested(path, "forged"), {path: "forged"}):
        assert answer(one, given=given_facts) == "undecided"
        assert answer(one, given=given_facts, requester="ana") == "undecided"


def test_rego_doesnt_see_what_a_pipeline_forged() -> None:
    """All paths at once."""
    forged: Document = {}
    for path in FORBIDDEN:
        first, _, rest = path.partition(".")
        inner = forged.setdefault(first, {})
        if rest and "." not in rest:
            inner[rest] = "forged"
    text = 'package spacelift\napprove { walk(input, [_, "forged"]) }'
    assert says(text, whole(replace(CLAIM, given=forged))) == "undecided"
    assert says(text, whole(replace(CLAIM, given={"free": "forged"}))) == "approve"


@settings(CHECKED, max_examples=150)
@given(GIVEN)
def test_no_facts_change_what_is_known(given_facts: Document) -> None:
    """Whatever they are."""
    with_facts, without = whole(replace(CLAIM, given=given_facts)), whole(CLAIM)
    for part in ("reviews", "request", "claim", "pool", "attached"):
        assert with_facts[part] == without[part]
    for part, names in (("run", ("id", "state", "created_at")), ("stack", ("name",)), ("build", tuple(without["build"]))):
        for name in names:
            assert with_facts[part][name] == without[part][name]
    assert "creator_session" not in with_facts["run"]
    assert "created_by" not in with_facts["build"]
