"""The policy that stands where nobody set one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from approval_resource.policy.language.document import Policy


class _Default:
    """A policy document with every option at its default, that takes one approval.

    Plain, since most claims have no other: pydantic, which reads policies, takes longer to load than a gate to open.
    """

    id = None
    name = "default"
    description = ""
    required_approvals = 1
    rejections_required = 1
    approval_rules: tuple[Any, ...] = ()
    per_rule = False
    allow_self_approval = True
    unknown_requester = "refuse"
    conditions = None
    selector = None
    on_policy_success = "manual"
    on_policy_fail = "manual"
    rego: tuple[str, ...] = ()
    windows: tuple[Any, ...] = ()
    holidays: tuple[Any, ...] = ()
    freezes: tuple[Any, ...] = ()
    not_before = None
    valid_for = None
    groups: dict[str, Any] = {}  # noqa: RUF012 - of a document, which nobody changes
    people: dict[str, Any] = {}  # noqa: RUF012
    delegates: tuple[Any, ...] = ()
    bypass = None
    reviewers = None
    inputs: tuple[Any, ...] = ()


DEFAULT = cast("Policy", _Default())
"""As in the original resource: one approval by anyone; one rejection ends it."""
