"""Schema of a policy document, which stands under `policy:`. Unknown options are refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AliasChoices, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from approval_resource.policy.language.days import DAYS
from approval_resource.policy.language.strict import Document, Duration, Flag, Name, one_or_more
from approval_resource.policy.language.times import Date, Days, Holidays, Moment, NotBefore, TimeOfDay, Zone

MAX_RULES = 20
MAX_PEOPLE = 20
"""Upper bound of the approvals that a rule or a quorum may require."""
MAX_REGO = 65_536
"""Upper bound of one Rego policy, in characters."""
MAX_INPUTS = 10
MAX_SHORT_NAME = 100
KNOWN_BY = ("aws:", "oidc:", "oidc-group:", "typed:", "concourse:", "slack:", "link:")
MAX_FREEZE_REASON = 255
ShortName = Annotated[Name, Field(max_length=MAX_SHORT_NAME)]
Count = Annotated[int, Field(ge=1, le=MAX_PEOPLE)]


def _person(value: object) -> object:
    if isinstance(value, str) and value.startswith("typed:"):
        raise PydanticCustomError("typed", "a typed name proves nothing, so no rule can name it; name an identity AWS knows")
    return value


Person = Annotated[Name, BeforeValidator(_person)]
Members = dict[ShortName, list[Person]]


class Part(Document):
    """Base of all parts of a policy."""


class Rule(Part):
    """Approval rule, as in GitLab: a user or a group, and the number of approvals that it requires."""

    name: ShortName = ""
    user: Person | None = None
    group: ShortName | None = None
    required_approvals: Count = Field(1, validation_alias=AliasChoices("required_approvals", "count"))

    @model_validator(mode="before")
    @classmethod
    def _one_count(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            for theirs in ("access_level", "user_id", "group_id"):
                if value.get(theirs) is not None:
                    raise PydanticCustomError(
                        "gitlab", "{theirs} is GitLab's own; name a user or a group, and list its people", {"theirs": theirs}
                    )
            if "count" in value and "required_approvals" in value:
                raise PydanticCustomError("count", "give required_approvals or count, not both")
        return value

    @model_validator(mode="after")
    def _one_subject(self) -> Rule:
        if (self.user is None) == (self.group is None):
            raise PydanticCustomError("subject", "a rule names exactly one of user and group")
        if self.user is not None and self.required_approvals > 1:
            raise PydanticCustomError("subject", "one user can give one approval; required_approvals must be 1")
        return self

    @property
    def label(self) -> str:
        """Return the name by which `--as` takes the rule: its own, else that of its user or group."""
        return self.name or self.user or self.group or ""


class Window(Part):
    """Hours in which the gate may open. A window whose end lies before its begin ends on the next day."""

    days: Days = Field(default_factory=lambda: list(DAYS))
    from_: TimeOfDay = Field("00:00", alias="from")
    to: TimeOfDay = "24:00"
    tz: Zone = Field(default_factory=lambda: ZoneInfo("UTC"))
    holidays: Holidays = Field(default_factory=list)

    @model_validator(mode="after")
    def _some_time(self) -> Window:
        if self.from_ == "24:00":
            raise PydanticCustomError("hours", 'a window can\'t begin at 24:00; write from: "00:00" on the next day')
        if self.from_ == self.to:
            told = "from and to are both {time}, so it never opens; for the whole day leave both out"
            raise PydanticCustomError("hours", told, {"time": self.to})
        return self

    @property
    def hours(self) -> tuple[time, time | None]:
        """Return when the window begins and ends, as times of day; an end of None is midnight."""
        return time.fromisoformat(self.from_), None if self.to == "24:00" else time.fromisoformat(self.to)


class Freeze(Part):
    """Period in which no gate opens, unless somebody in `bypass` forces an approval.

    A date in `until` is the last day of the freeze. A time in `until` is the first instant after it.
    """

    from_: Moment = Field(alias="from")
    until: Moment
    tz: Zone = Field(default_factory=lambda: ZoneInfo("UTC"))
    reason: Annotated[str, Field(max_length=MAX_FREEZE_REASON)] = ""

    @model_validator(mode="after")
    def _some_time(self) -> Freeze:
        try:
            begin, end = self.span
        except OverflowError:
            raise PydanticCustomError("dates", "a freeze lies between the years 1 and 9999") from None
        if end <= begin:
            raise PydanticCustomError("dates", "until lies before from, so it freezes nothing")
        return self

    @property
    def span(self) -> tuple[datetime, datetime]:
        """Return when the freeze begins and ends, in UTC.

        Where clocks change, a local time may have two readings. The freeze begins at the earlier one and ends
        at the later one.
        """
        last = self.until if isinstance(self.until, datetime) else self.until + timedelta(days=1)
        return min(self._at(self.from_)), max(self._at(last))

    def _at(self, moment: date) -> list[datetime]:
        at = moment if isinstance(moment, datetime) else datetime.combine(moment, time())
        at = at.replace(tzinfo=self.tz) if at.tzinfo is None else at
        return [at.replace(fold=fold).astimezone(UTC) for fold in (0, 1)]


class Bypass(Part):
    """People who may force a decision, with a reason."""

    users: list[Person] = Field(default_factory=list)
    groups: list[ShortName] = Field(default_factory=list)

    @model_validator(mode="after")
    def _somebody(self) -> Bypass:
        if not self.users and not self.groups:
            raise PydanticCustomError("nobody", "names nobody; give users or groups")
        return self


class Reviewers(Part):
    """Kinds of identity whose reviews count."""

    concourse: Flag
    """Whether reviews from Concourse count, each under the user who started its job."""


class Delegate(Part):
    """Delegation: one person stands in for another, from one date to another, both included."""

    person: Person
    delegate: Person
    from_: Date = Field(alias="from")
    until: Date
    tz: Zone = Field(default_factory=lambda: ZoneInfo("UTC"))

    @model_validator(mode="after")
    def _some_time(self) -> Delegate:
        if self.until < self.from_:
            raise PydanticCustomError("dates", "until lies before from")
        if self.person == self.delegate:
            raise PydanticCustomError("dates", "nobody stands in for themselves")
        return self


class Input(Part):
    """Input: a field that approvers may, or have to, fill in."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,49}\Z")]
    kind: Literal["string", "number", "boolean", "choice", "choices"] = "string"
    description: Annotated[str, Field(max_length=500)] = ""
    choices: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(default_factory=list)
    pattern: Annotated[str, Field(max_length=500)] = ""
    required: Flag = False

    @model_validator(mode="after")
    def _fitting(self) -> Input:
        if self.kind in ("choice", "choices") and not self.choices:
            raise PydanticCustomError("choices", "kind: {kind} needs choices", {"kind": self.kind})
        if self.kind == "choices" and any("," in choice or choice != choice.strip() for choice in self.choices):
            raise PydanticCustomError("choices", "with kind: choices, a choice can have no comma in it and no space around it")
        if self.pattern:
            if self.kind != "string":
                raise PydanticCustomError("pattern", "a pattern is for kind: string")
            try:
                re.compile(self.pattern)
            except (re.error, RecursionError, OverflowError) as wrong:
                raise PydanticCustomError("pattern", "pattern is no regular expression: {why}", {"why": str(wrong)}) from None
        return self


class Policy(Part):
    """Policy document. Every kind of rule in it must approve or abstain."""

    id: int | str | None = None
    name: ShortName = ""
    description: Annotated[str, Field(max_length=2_000)] = ""

    required_approvals: Count | None = None
    rejections_required: Count = 1
    approval_rules: list[Rule] = Field(default_factory=list, max_length=MAX_RULES)
    per_rule: Flag = False
    """Whether one person's approval may count for several rules, each of which it names."""
    allow_self_approval: Flag = True
    unknown_requester: Literal["refuse", "allow"] = "refuse"

    conditions: dict[str, Any] | None = None
    selector: dict[str, Any] | None = None
    on_policy_success: Literal["approve", "manual"] = "manual"
    on_policy_fail: Literal["manual", "deny"] = "manual"

    rego: Annotated[list[Annotated[str, Field(max_length=MAX_REGO)]], BeforeValidator(one_or_more)] = Field(
        default_factory=list, max_length=MAX_RULES
    )

    windows: list[Window] = Field(default_factory=list, max_length=MAX_RULES)
    holidays: Holidays = Field(default_factory=list)
    """Days on which no window begins."""
    freezes: list[Freeze] = Field(default_factory=list, max_length=MAX_RULES)
    """Periods in which no gate opens, approved before or not, unless somebody in `bypass` forces it."""
    not_before: NotBefore = None
    """Instant before which the gate stays shut, or a period after the claim."""
    valid_for: Duration | None = None

    groups: Members = Field(default_factory=dict)
    people: Members = Field(default_factory=dict)
    delegates: list[Delegate] = Field(default_factory=list, max_length=100)
    bypass: Bypass | None = None
    reviewers: Reviewers | None = None
    inputs: list[Input] = Field(default_factory=list, max_length=MAX_INPUTS)

    @model_validator(mode="after")
    def _whole(self) -> Policy:
        if self.conditions is None and self.selector is not None:
            raise PydanticCustomError("selector", "a selector says where conditions apply, and this policy has no conditions")
        if self.holidays and not self.windows:
            raise PydanticCustomError("holidays", "holidays close windows, and this policy has no windows")
        labels = [rule.label for rule in self.approval_rules]
        for twice in {label for label in labels if labels.count(label) > 1}:
            raise PydanticCustomError("rules", "two approval_rules are called {label}; give each a name", {"label": twice})
        names = [asked.name for asked in self.inputs]
        for twice in {name for name in names if names.count(name) > 1}:
            raise PydanticCustomError("inputs", "two inputs are called {name}", {"name": twice})
        owner: dict[str, str] = {}
        for person, identities in self.people.items():
            if person.startswith(KNOWN_BY):
                raise PydanticCustomError(
                    "people", "{person} is an identity; list it under a person's name", {"person": person}
                )
            for identity in identities:
                if owner.setdefault(identity, person) != person or (identity in self.people and identity != person):
                    raise PydanticCustomError("people", "{identity} is two people", {"identity": identity})
        return self

    @property
    def says_nothing(self) -> bool:
        """Whether the document sets nothing but id, name, description, groups and people."""
        told = {"id", "name", "description", "groups", "people"}
        return not self.model_fields_set - told
