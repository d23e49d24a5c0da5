"""People: the person behind an identity, their groups, those they stand in for, and whether they asked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from approval_resource.canonical import EMPTY
from approval_resource.model.claim import Review, Verdict

if TYPE_CHECKING:
    from approval_resource.policy.language.document import Policy

TYPED = "typed:"
TYPED_NAMES = "typed: all of them"
"""The one person that all typed names are: anyone may invent a name, so together they count once, and are in no list."""
TYPED_LOGIN = "typed names"
CONCOURSE = "concourse:"

Memberships = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """A person's newest word on a claim, and in whose name they may say it."""

    person: str
    identity: str
    """The one by which they spoke last."""
    login: str
    """Their name in a policy's input document."""
    shown: str
    """Their name in what people are told."""
    approves: bool
    comment: str
    at: datetime
    typed: bool
    asked: bool
    """Whether they asked for the claim, as far as anybody can tell."""
    groups: frozenset[str]
    """Their own groups, and those of the people they stand in for."""
    stands_for: Mapping[str, frozenset[str]] = field(default_factory=lambda: EMPTY)
    """The people who delegated to them, with those people's groups."""
    own_groups: frozenset[str] = frozenset()
    represented_as: tuple[str, ...] = ()
    forced: bool = False
    inputs: Mapping[str, str] = field(default_factory=dict)


class Roster:
    """The people, groups and delegations of one policy, and who asked for the claim."""

    def __init__(self, policy: Policy, requester: str = "", memberships: Memberships = EMPTY) -> None:
        """`memberships`: groups that reviewers are in by other proof than the policy's own lists, by identity."""
        self._policy = policy
        self._person = {identity: person for person, identities in policy.people.items() for identity in identities}
        self._groups: dict[str, set[str]] = {}
        for group, members in policy.groups.items():
            for member in members:
                self._groups.setdefault(self.person(member), set()).add(group)
        for identity, groups in memberships.items():
            if not identity.startswith(TYPED):
                self._groups.setdefault(self.person(identity), set()).update(groups)
        self._asker = requester
        self.requester = self._requester(requester)
        """The person who asked, or an empty string where nobody knows."""

    def person(self, identity: str) -> str:
        """Return the person with that identity, which is their name where no list tells more."""
        if identity.startswith(TYPED):
            return TYPED_NAMES
        return self._person.get(identity, identity)

    def groups_of(self, person: str) -> frozenset[str]:
        """Return the groups that person is in."""
        return frozenset(self._groups.get(person, ()))

    @property
    def everybody(self) -> list[str]:
        """Return everyone whom the policy names, in any way."""
        named = [*self._groups, *self._policy.people]
        named += [self.person(rule.user) for rule in self._policy.approval_rules if rule.user]
        named += [self.person(delegate.delegate) for delegate in self._policy.delegates]
        named += [self.person(user) for user in (self._policy.bypass.users if self._policy.bypass else ())]
        return list(dict.fromkeys(named))

    def can_be(self, person: str) -> bool:
        """Whether a reviewer can turn out to be that person: by an identity, which has a colon, or by one that is listed."""
        return any(_can_review(identity) for identity in self._policy.people.get(person, (person,)))

    def is_one_of(self, voice: Voice, users: Iterable[str], groups: Iterable[str]) -> bool:
        """Whether that person is named, or in one of the groups, themselves."""
        if voice.typed:
            return False
        return voice.person in {self.person(user) for user in users} or bool(voice.own_groups & set(groups))

    def asked(self, identity: str) -> bool:
        """Whether that identity is who asked, or can't be told from them.

        Unless lists tell both apart, names are compared, without case, and the last part of the ARN too: a name that was
        chosen may well be another's, but here that only costs an approval.
        """
        if not self.requester or identity.startswith(TYPED):
            return False
        person = self.person(identity)
        if person == self.requester or person in self._at_concourse(self._asker):
            return True
        if identity in self._person and self.requester in self._policy.people:
            return False
        return _bare(self._asker) in (_bare(person), _bare(identity.rsplit("/", 1)[-1]))

    def voices(self, reviews: Iterable[Review]) -> list[Voice]:
        """Return each person's newest word, by whichever of their identities.

        Of the typed names, which are one person, a rejection stands whatever another of them says.
        """
        by_person: dict[str, list[Review]] = {}
        for review in reviews:
            by_person.setdefault(self.person(review.reviewer), []).append(review)
        heard = {person: _newest(said) for person, said in by_person.items()}
        against = frozenset(person for person, review in heard.items() if review.verdict is Verdict.REJECT)
        shown = self._shown({person: review.reviewer for person, review in heard.items()})
        return [self._voice(person, review, against, shown[person]) for person, review in sorted(heard.items())]

    def _shown(self, identities: Mapping[str, str]) -> dict[str, str]:
        """Return the shortest name by which people can tell each person from all others, given the identity that they used."""
        names = {person: _names(person, identity) for person, identity in identities.items()}
        others = {name.casefold() for name in self.everybody}
        uses = Counter(name.casefold() for named in names.values() for name in set(named))
        return {
            person: next(
                (name for name in named if uses[name.casefold()] == 1 and (name == person or name.casefold() not in others)),
                named[-1],
            )
            for person, named in names.items()
        }

    def _voice(self, person: str, newest: Review, against: frozenset[str], shown: str) -> Voice:
        typed = person == TYPED_NAMES
        own = self.groups_of(person)
        asked = self.asked(newest.reviewer)
        stands_for = {} if typed else self._stands_for(person, newest.at, against)
        return Voice(
            person=person,
            identity=newest.reviewer,
            login=self.requester if asked else TYPED_LOGIN if typed else person,
            shown=shown,
            approves=newest.verdict is Verdict.APPROVE,
            comment=newest.comment,
            at=newest.at,
            typed=typed,
            asked=asked,
            groups=own.union(*stands_for.values()),
            stands_for=stands_for,
            own_groups=own,
            represented_as=newest.represented_as,
            forced=newest.forced and not typed,
            inputs=newest.inputs,
        )

    def _stands_for(self, person: str, at: datetime, against: frozenset[str]) -> dict[str, frozenset[str]]:
        """Return the people that person stood in for then: nobody who rejects it themselves, nor who asked and may not approve."""
        found = {}
        for delegate in self._policy.delegates:
            principal = self.person(delegate.person)
            if self.person(delegate.delegate) != person or principal in against:
                continue
            if not self._policy.allow_self_approval and (principal == self.requester or self.asked(delegate.person)):
                continue
            if delegate.from_ <= at.astimezone(delegate.tz).date() <= delegate.until:
                found[principal] = self.groups_of(principal)
        return found

    def _at_concourse(self, name: str) -> list[str]:
        """Return the people who have that name at some Concourse. Of several each may be who asked."""
        at = ((person, identity) for identity, person in self._person.items() if identity.startswith(CONCOURSE))
        return [person for person, identity in at if identity.partition("#")[2] == name]

    def _requester(self, name: str) -> str:
        if not name:
            return ""
        listed = self._person.get(f"{CONCOURSE}{name}") or self._person.get(name)
        listed = listed or next(iter(self._at_concourse(name)), None)
        named = (person for person in self._policy.people if _bare(person) == _bare(name))
        return listed or next(named, name)


def _can_review(identity: str) -> bool:
    """Whether a reviewer may have that identity, and not only somebody who starts a build."""
    prefix, colon, rest = identity.partition(":")
    return bool(colon) and (prefix != "concourse" or "#" in rest)


def _names(person: str, identity: str) -> list[str]:
    """Return the names by which people may be told of a person, the shortest first, the unmistakable last."""
    if person not in (TYPED_NAMES, identity):
        return [person]
    found = re.fullmatch(r"aws:arn:[\w-]+:(?:iam|sts)::\d+:(?:user/(?:.*/)?([^/]+)|assumed-role/(.+))", identity)
    # A session's name is chosen by whoever assumes the role, so it is told with the role.
    return [found[1] or found[2], identity] if found else [identity]


def _newest(said: list[Review]) -> Review:
    """Return one person's last review. At one instant, and among typed names at any, a rejection is the last."""

    def order(review: Review) -> tuple[bool, datetime, bool, str]:
        rejects = review.verdict is Verdict.REJECT
        return rejects and review.reviewer.startswith(TYPED), review.at, rejects, review.reviewer

    return max(said, key=order)


def _bare(name: str) -> str:
    """Return a name without case, and without the host of a mail address."""
    return name.partition("@")[0].casefold()
