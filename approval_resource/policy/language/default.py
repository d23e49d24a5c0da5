"""Default policy, used where nobody set one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from approval_resource.policy.language.document import Policy


class _Default:
    """Default policy document: every option at its default, and one required approval.

    It is a plain class: most claims have no other policy, and loading pydantic, which reads policies, takes
    longer than opening a gate.
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
"""Default policy, as in the original resource: one approval by anyone approves, one rejection rejects."""
