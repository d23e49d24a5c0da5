"""Trials: policies evaluated on made-up facts and reviews, for `policy eval` and `policy test`.

No claim is touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from approval_resource.errors import ConfigError
from approval_resource.model.claim import Review, Verdict
from approval_resource.policy import entitlement
from approval_resource.policy.authoring import gitlab, nullplatform
from approval_resource.policy.decision import Decision, PolicyResult, combine
from approval_resource.policy.evaluate import combine_results, evaluate
from approval_resource.policy.facts import Facts
from approval_resource.policy.kinds import rego
from approval_resource.policy.language.document import Policy
from approval_resource.policy.language.load import Loaded
from approval_resource.policy.language.strict import Document, Flag, Name, one_or_more, problems_of
from approval_resource.strict_options import instant_of
from approval_resource.text import clean

MAX_TRIAL_REVIEWS = 500
VERDICTS = {"approve": Verdict.APPROVE, "approved": Verdict.APPROVE, "reject": Verdict.REJECT, "rejected": Verdict.REJECT}


def an_instant(value: object) -> object:
    """Validate an instant for pydantic; None and a datetime stay as they are.

    Raises:
        PydanticCustomError: the value is no instant.
    """
    try:
        return value if isinstance(value, datetime) or value is None else instant_of(value)
    except ValueError as wrong:
        raise PydanticCustomError("instant", "{why}", {"why": str(wrong)}) from None


class Said(Document):
    """A review, as a trial's file gives it."""

    author: Name
    verdict: Literal["approve", "approved", "reject", "rejected"]
    groups: list[Name] | None = None
    comment: str | None = ""
    at: Annotated[datetime | None, BeforeValidator(an_instant)] = None
    represented_as: Annotated[list[Name] | None, BeforeValidator(one_or_more)] = Field(
        None, validation_alias=AliasChoices("represented_as", "as")
    )
    forced: Flag = False
    inputs: dict[str, str] = Field(default_factory=dict)


class ClaimFacts(Document):
    """Facts of the claim in a trial."""

    id: str = "00000000-0000-0000-0000-000000000000"
    pool: str = ""
    lock_name: str = ""
    description: str = ""
    requester: str = ""
    created_at: Annotated[datetime | None, BeforeValidator(an_instant)] = None
    payload_digest: str = ""
    attached: list[dict[str, Any]] = Field(default_factory=list)
    build: dict[str, str] = Field(default_factory=dict)


def facts_of(given: object, now: datetime, requester: str = "") -> Facts:
    """Return the facts of a trial: the pipeline's, and under `claim` the claim's own.

    Raises:
        ConfigError: every problem of the facts.
    """
    if not isinstance(given, Mapping):
        raise ConfigError(["facts: must be a map"])
    claim, problems = problems_of(ClaimFacts, given.get("claim") or {})
    if claim is None:
        raise ConfigError([f"facts.claim.{'.'.join(map(str, path))}: {told}" for path, told in problems])
    return Facts(
        id=claim.id,
        pool=claim.pool,
        lock_name=claim.lock_name,
        description=claim.description,
        requester=requester or claim.requester,
        created_at=claim.created_at or now,
        payload_digest=claim.payload_digest,
        attached=claim.attached,
        build=claim.build,
        given=given,
    )


def reviews_of(given: object, policies: Sequence[Policy], now: datetime) -> tuple[list[Review], dict[str, frozenset[str]]]:
    """Return the reviews in a file, and the groups that the file puts each author in.

    The reviews of one author are merged in their order, as a claim keeps them.

    Raises:
        ConfigError: every problem of the reviews.
    """
    if not isinstance(given, list) or len(given) > MAX_TRIAL_REVIEWS:
        raise ConfigError([f"reviews: must be a list of at most {MAX_TRIAL_REVIEWS}"])
    problems: list[str] = []
    kept: dict[str, Review] = {}
    groups: dict[str, frozenset[str]] = {}
    for number, one in enumerate(given):
        said, wrong = problems_of(Said, one)
        if said is None:
            problems += [f"reviews.{number}.{'.'.join(map(str, path))}: {told}" for path, told in wrong]
            continue
        review = Review(
            reviewer=said.author,
            verdict=VERDICTS[said.verdict],
            comment=said.comment or "",
            at=said.at or now,
            represented_as=tuple(said.represented_as or ()),
            forced=said.forced,
            inputs=said.inputs,
        )
        kept[said.author] = entitlement.merged(policies, kept.get(said.author), review)
        groups[said.author] = groups.get(said.author, frozenset()) | frozenset(said.groups or ())
    if problems:
        raise ConfigError(problems)
    return list(kept.values()), groups


def trial(loaded: Sequence[Loaded], facts: object, reviews: object, now: datetime, requester: str = "") -> Decision:
    """Return the policies' decision on the facts and reviews of a trial.

    Raises:
        ConfigError: facts or reviews are malformed.
    """
    policies = [one.policy if one.policy.name else one.policy.model_copy(update={"name": one.name}) for one in loaded]
    said, groups = reviews_of(reviews, policies, now)
    known = facts_of(facts, now, requester)
    # A claim would refuse a forced review by somebody who may not force. So the trial drops it.
    kept = [one for one in said if not one.forced or entitlement.may_force(policies, known, one, groups)]
    return evaluate(policies, known, kept, now, groups)


def trial_on_input(loaded: Sequence[Loaded], document: object) -> Decision:
    """Return the decision of Rego policies on a whole input document.

    Raises:
        ConfigError: there is no policy, one has more than Rego, or the input is no map.
    """
    if not isinstance(document, Mapping):
        raise ConfigError(["--input: must be a map"])
    others = [one.where for one in loaded if one.policy.model_fields_set - {"rego", "name", "id", "description"}]
    if others or not loaded:
        raise ConfigError([f"--input: is for Rego policies alone; {', '.join(others) or 'there is none'}"])
    judged = []
    for one in loaded:
        part = rego.part_of([rego.ask(text, dict(document)) for text in one.policy.rego])
        result = combine(one.name, part.answers)
        judged.append(PolicyResult(name=one.name, result=result, notes=tuple(part.notes), flags=tuple(part.flags)))
    return combine_results(judged)


def document_of(decision: Decision) -> dict[str, Any]:
    """Render the decision for programs.

    Quorum, rules and conditions are also rendered in the shapes of GitLab and nullplatform.
    """
    policies = [
        {
            "name": one.name,
            "decision": one.answer.value,
            "notes": list(one.notes),
            "explanation": one.result.document(),
            **gitlab.approvals(one),
            **nullplatform.evaluations(one),
        }
        for one in decision.policies
    ]
    return {
        "decision": decision.result.answer.value,
        "reasons": [clean(reason) for reason in decision.reasons],
        "notes": list(decision.notes),
        **({"flags": list(decision.flags)} if decision.flags else {}),
        **gitlab.deployment(decision),
        **nullplatform.action(decision),
        "policies": policies,
    }
