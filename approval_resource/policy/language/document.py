"""The policy document: what may stand under `policy:`, checked as strictly as Concourse's own options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AliasChoices, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from approval_resource.policy.language.days import DAYS
from approval_resource.policy.language.strict import Document, Duration, Flag, Name

MAX_RULES = 20
MAX_PEOPLE = 20
"""Approvals that a rule or a quorum may ask for."""
MAX_REGO = 65_536
"""Characters of one Rego policy."""
MAX_INPUTS = 10
MAX_SHORT_NAME = 100
KNOWN_BY = ("aws:", "oidc:", "typed:", "concourse:")
A_DATE = re.compile(r"\d{4}-\d\d-\d\d")
CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")
INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:\d\d)")
ShortName = Annotated[Name, Field(max_length=MAX_SHORT_NAME)]
Count = Annotated[int, Field(ge=1, le=MAX_PEOPLE)]


def _date(value: object) -> object:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str) and A_DATE.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise PydanticCustomError("date", "must be a date such as 2026-12-24")


def _clock(value: object) -> object:
    if not isinstance(value, str) or not CLOCK.fullmatch(value):
        raise PydanticCustomError("clock", 'must be a time of day such as "09:00", in quotes, from "00:00" to "24:00"')
    return value


def _days(value: object) -> object:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    if not isinstance(value, list) or not value or not all(isinstance(day, str) for day in value):
        raise PydanticCustomError("days", "must be a list of days, such as [mon, tue]")
    found: list[str] = []
    for day in value:
        first, dash, last = day.lower().partition("-")
        ends = [DAYS.index(part[:3]) for part in (first, last if dash else first) if part[:3] in DAYS and _is_day(part)]
        if len(ends) != 2:
            raise PydanticCustomError("days", "unknown day; use mon, tue, wed, thu, fri, sat, sun, or mon-fri")
        count = (ends[1] - ends[0]) % 7 + 1
        found += [DAYS[(ends[0] + step) % 7] for step in range(count)]
    return list(dict.fromkeys(found))


def _is_day(word: str) -> bool:
    full = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    return any(word in (name, name[:3]) for name in full)


def _zone(value: object) -> object:
    try:
        if isinstance(value, str):
            return ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    raise PydanticCustomError("zone", "must be a time zone such as Europe/Paris or UTC")


def _not_before(value: object) -> object:
    if isinstance(value, str) and INSTANT.fullmatch(value):
        try:
            return datetime.fromisoformat(value.upper())
        except ValueError:
            pass
    return value


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _person(value: object) -> object:
    if isinstance(value, str) and value.startswith("typed:"):
        raise PydanticCustomError("typed", "a typed name proves nothing, so no rule can name it; name an identity AWS knows")
    return value


Date = Annotated[date, BeforeValidator(_date)]
TimeOfDay = Annotated[str, BeforeValidator(_clock)]
Person = Annotated[Name, BeforeValidator(_person)]
Members = dict[ShortName, list[Person]]
Zone = Annotated[ZoneInfo, BeforeValidator(_zone)]


class Part(Document):
    """Any part of a policy."""


class Rule(Part):
    """Who has to approve, and how many of them: GitLab's approval rule."""

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
        """What the rule is called."""
        return self.name or self.user or self.group or ""


class Window(Part):
    """Hours in which the gate may open. One that ends before it begins ends on the next day."""

    days: Annotated[list[str], BeforeValidator(_days)] = Field(default_factory=lambda: list(DAYS))
    from_: TimeOfDay = Field("00:00", alias="from")
    to: TimeOfDay = "24:00"
    tz: Zone = Field(default_factory=lambda: ZoneInfo("UTC"))
    holidays: list[Date] = Field(default_factory=list)

    @model_validator(mode="after")
    def _some_time(self) -> Window:
        if self.from_ in (self.to, "24:00"):
            raise PydanticCustomError("hours", "from and to leave no time between them")
        return self

    @property
    def hours(self) -> tuple[time, time | None]:
        """Where it begins, and where it ends; None is midnight."""
        return time.fromisoformat(self.from_), None if self.to == "24:00" else time.fromisoformat(self.to)


class Bypass(Part):
    """Who may force a decision, with a reason."""

    users: list[Person] = Field(default_factory=list)
    groups: list[ShortName] = Field(default_factory=list)

    @model_validator(mode="after")
    def _somebody(self) -> Bypass:
        if not self.users and not self.groups:
            raise PydanticCustomError("nobody", "names nobody; give users or groups")
        return self


class Delegate(Part):
    """Who stands in for whom, from one date to another, both included."""

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
    """Something that who approves has to, or may, fill in."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,49}$")]
    kind: Literal["string", "number", "boolean", "choice"] = "string"
    description: Annotated[str, Field(max_length=500)] = ""
    choices: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(default_factory=list)
    pattern: Annotated[str, Field(max_length=500)] = ""
    required: Flag = False

    @model_validator(mode="after")
    def _fitting(self) -> Input:
        if self.kind == "choice" and not self.choices:
            raise PydanticCustomError("choices", "kind: choice needs choices")
        if self.pattern:
            if self.kind != "string":
                raise PydanticCustomError("pattern", "a pattern is for kind: string")
            try:
                re.compile(self.pattern)
            except (re.error, RecursionError, OverflowError) as wrong:
                raise PydanticCustomError("pattern", "pattern is no regular expression: {why}", {"why": str(wrong)}) from None
        return self


class Policy(Part):
    """One policy document. Every kind of rule in it must approve."""

    id: int | str | None = None
    name: ShortName = ""
    description: Annotated[str, Field(max_length=2_000)] = ""

    required_approvals: Count | None = None
    rejections_required: Count = 1
    approval_rules: list[Rule] = Field(default_factory=list, max_length=MAX_RULES)
    per_rule: Flag = False
    """Whether one person may approve for several rules, each named."""
    allow_self_approval: Flag = True
    unknown_requester: Literal["refuse", "allow"] = "refuse"

    conditions: dict[str, Any] | None = None
    selector: dict[str, Any] | None = None
    on_policy_success: Literal["approve", "manual"] = "manual"
    on_policy_fail: Literal["manual", "deny"] = "manual"

    rego: Annotated[list[Annotated[str, Field(max_length=MAX_REGO)]], BeforeValidator(_one_or_more)] = Field(
        default_factory=list, max_length=MAX_RULES
    )

    windows: list[Window] = Field(default_factory=list, max_length=MAX_RULES)
    holidays: list[Date] = Field(default_factory=list)
    """Days on which no window begins."""
    not_before: Annotated[datetime | Duration | None, BeforeValidator(_not_before)] = None
    """An instant, or how long after the claim."""
    valid_for: Duration | None = None

    groups: Members = Field(default_factory=dict)
    people: Members = Field(default_factory=dict)
    delegates: list[Delegate] = Field(default_factory=list, max_length=100)
    bypass: Bypass | None = None
    inputs: list[Input] = Field(default_factory=list, max_length=MAX_INPUTS)

    @model_validator(mode="after")
    def _whole(self) -> Policy:
        if self.conditions is None and self.selector is not None:
            raise PydanticCustomError("selector", "a selector says where conditions apply, and there are none")
        if self.holidays and not self.windows:
            raise PydanticCustomError("holidays", "holidays are days without windows, and there are none")
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
        """Whether the document asks for nothing at all."""
        told = {"id", "name", "description", "groups", "people"}
        return not self.model_fields_set - told
