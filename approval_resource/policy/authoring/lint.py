"""Lint a policy: find its errors and likely mistakes before anybody relies on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches

from approval_resource.errors import ConfigError
from approval_resource.model.claim import MAX_REVIEWS
from approval_resource.policy.facts import SCHEMA
from approval_resource.policy.kinds import conditions, rego, rules, windows
from approval_resource.policy.language import identities
from approval_resource.policy.language.document import Policy
from approval_resource.policy.language.load import Finding, Loaded
from approval_resource.policy.sandbox import parent as sandbox
from approval_resource.policy.sandbox import rego_lint
from approval_resource.policy.sandbox.matching import LOGICAL
from approval_resource.text import clean

UNSEEN = ("reviews", "request")
"""Parts of the input document that conditions never see."""
ORDERING = ("$gt", "$gte", "$lt", "$lte")
SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)


def lint(loaded: Loaded) -> list[Finding]:
    """Return all findings, sorted by place.

    A document that can't be read at all was refused earlier, when it was loaded.
    """
    found = [*_conditions(loaded), *_rego(loaded), *_people(loaded), *_likely(loaded)]
    return sorted(found, key=lambda finding: (finding.place or (0, 0), not finding.error))


def require_no_errors(loaded: Sequence[Loaded]) -> list[Finding]:
    """Return the warnings about policies that have no errors.

    Raises:
        ConfigError: every error, with file, line and column.
    """
    with sandbox.budget():
        found = [finding for one in loaded for finding in lint(one)]
    errors = [str(finding) for finding in found if finding.error]
    if errors:
        raise ConfigError(errors)
    return found


def _conditions(loaded: Loaded) -> Iterator[Finding]:
    for option in ("conditions", "selector"):
        query = getattr(loaded.policy, option)
        if query is not None:
            for path, message in conditions.problems(query):
                name = ".".join(clean(str(step))[:80] for step in (option, *path))
                yield Finding(loaded.where, loaded.at(option, *path), f"{name}: {message}")
            for path, message, error in _doubts(query):
                yield Finding(loaded.where, loaded.at(option, *path), message, error=error)


def _doubts(query: object, path: conditions.Path = ()) -> Iterator[tuple[conditions.Path, str, bool]]:
    """Yield each valid part that can't work as meant: its path, a message, and whether it is an error."""
    if isinstance(query, list):
        for number, item in enumerate(query):
            yield from _doubts(item, (*path, number))
    if not isinstance(query, Mapping):
        return
    for key, value in query.items():
        if key in LOGICAL:
            yield from _doubts(value, (*path, key))
        elif not key.startswith("$"):
            steps: list[str | None] = list(key.split("."))
            if steps[0] in UNSEEN:
                yield (*path, key), f"conditions are asked without reviews and time, so {clean(key)} is never there", True
            elif (told := rego_lint.unknown(steps, SCHEMA)) is not None and told[1]:
                yield (*path, key), told[0].removeprefix("input."), True
            if isinstance(value, Mapping):
                for operator in ORDERING:
                    if isinstance(text := value.get(operator), str) and rego_lint.VERSION.fullmatch(text):
                        yield (*path, key), f"{rego_lint.AS_TEXT}; give numbers", False
            if value is None or (isinstance(value, Mapping) and any(one is None for one in value.values())):
                yield (
                    (*path, key),
                    f"null matches a missing fact, too; add {{{clean(key)}: {{$exists: true}}}} to require the fact",
                    False,
                )


def _rego(loaded: Loaded) -> Iterator[Finding]:
    texts = loaded.policy.rego
    for number, problems in enumerate(rego.lint(texts) if texts else ()):
        line, column, own_lines = loaded.rego_at.get(number, (1, 1, False))
        for problem in problems:
            message = clean(problem["message"])
            place = (line + problem["line"] - 1, column + problem["column"] - 1)
            if not own_lines:
                place, message = (line, column), f"line {problem['line']}, column {problem['column']} of the Rego: {message}"
            yield Finding(loaded.where, place, message, error=problem["error"])


def _people(loaded: Loaded) -> Iterator[Finding]:
    """Yield identities that nobody can have, and rules that nobody can meet."""
    for path, message in identities.unmatchable(loaded.policy):
        yield Finding(loaded.where, loaded.at(*path), f"{'.'.join(map(str, path))}: {message}")
    for number, message in rules.unsatisfiable(loaded.policy):
        yield Finding(loaded.where, loaded.at("approval_rules", number), message)


def _likely(loaded: Loaded) -> Iterator[Finding]:
    """Yield likely mistakes: options that are valid and rarely meant."""
    policy = loaded.policy

    def warn(message: str, *path: str | int) -> Finding:
        return Finding(loaded.where, loaded.at(*path), message, error=False)

    for path, person in identities.identities_in(policy):
        if path[0] in ("bypass", "delegates") and not _can_be_somebody(policy, person):
            yield warn(f"{person} is nobody here: list their identities under people", *path[:2])
    if "rejections_required" in policy.model_fields_set and policy.rego and policy.required_approvals is None:
        yield warn("rejections_required is not for Rego, which has a reject rule of its own", "rejections_required")
    for group, listed in policy.groups.items():
        for member in listed:
            if not _can_be_somebody(policy, member):
                yield warn(f"{member} of group {group} is nobody here: list their identities under people", "groups", group)
    for group in policy.bypass.groups if policy.bypass else ():
        if group not in policy.groups:
            yield warn(f"group {group} has no members here: list it under groups{_near(group, policy)}", "bypass")
    if policy.conditions is None:
        for option in ("on_policy_success", "on_policy_fail"):
            if option in policy.model_fields_set:
                yield warn(f"{option} says what conditions do, and this policy has no conditions", option)
    elif policy.on_policy_success == "manual" and policy.on_policy_fail == "manual":
        yield warn("the conditions change nothing: say on_policy_success: approve, or on_policy_fail: deny", "conditions")
    if policy.per_rule and not policy.approval_rules:
        yield warn("per_rule is about approval_rules, and this policy has no approval_rules", "per_rule")
    if "unknown_requester" in policy.model_fields_set and policy.allow_self_approval:
        yield warn("unknown_requester matters only with allow_self_approval: false", "unknown_requester")
    if not policy.allow_self_approval and not policy.people:
        yield warn(
            "without people, a self-approval is recognized only by the last part of an ARN; list people",
            "allow_self_approval",
        )
    most = max(policy.required_approvals or 0, sum(rule.required_approvals for rule in policy.approval_rules))
    if most > MAX_REVIEWS:
        message = f"asks for {most} approvals, but a claim keeps {MAX_REVIEWS} people's reviews"
        yield Finding(loaded.where, loaded.at("approval_rules"), message)
    for path, message in windows.doubtful_zones(policy):
        yield warn(message, *path)
    if policy.windows and not windows.is_open(policy, SOME_DAY) and windows.next_opening(policy, SOME_DAY) is None:
        yield warn("none of the windows ever opens", "windows")


def _can_be_somebody(policy: Policy, name: str) -> bool:
    """Whether a reviewer may be that person: an identity, or a person with listed identities."""
    return ":" in name or name in policy.people


def _near(group: str, policy: Policy) -> str:
    near = get_close_matches(group, policy.groups, n=1)
    return f"; did you mean {near[0]}?" if near else ""
