"""People: the person behind an identity, their groups, delegations, and who is the requester."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from approval_resource.canonical import EMPTY
from approval_resource.model.claim import Review, Verdict
from approval_resource.policy.language.identities import (
    CONCOURSE,
    OIDC_GROUP,
    SENT,
    SLACK,
    at_concourse,
    identities_in,
    is_full,
    knower,
    name_at_concourse,
)

if TYPE_CHECKING:
    from approval_resource.policy.language.document import Policy

APART = (CONCOURSE, *SENT)
"""Prefixes of identities under which a human who has another identity could approve a second time."""
MANY_SOURCES = 6
"""Number of sources of one side (see `Roster.hearings`) up to which all subsets of them are tried. Above
it: each alone, and all together."""
TYPED = "typed:"
TYPED_NAMES = "typed: all of them"
"""Person behind all typed names. Anyone may invent a name, so they are one person together, in no list."""
TYPED_LOGIN = "typed names"

Memberships = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """One person's newest review of a claim, and the people for whom it may count."""

    person: str
    identity: str
    """Identity of their newest review."""
    login: str
    """Their name in a policy's input document."""
    shown: str
    """Their name in messages for people."""
    approves: bool
    comment: str
    at: datetime
    typed: bool
    may_be_requester: bool
    """Whether they are the requester, or can't be told from them."""
    groups: frozenset[str]
    """Their own groups, and those of the people they stand in for."""
    stands_for: Mapping[str, frozenset[str]] = field(default_factory=lambda: EMPTY)
    """People who delegated to them, each with their groups."""
    own_groups: frozenset[str] = frozenset()
    represented_as: tuple[str, ...] = ()
    forced: bool = False
    inputs: Mapping[str, str] = field(default_factory=dict)
    may_be: str = ""
    """Name of a counted person who may be the same human as this one; empty where there is none."""


class Roster:
    """People, groups and delegations of one policy, and the requester of one claim."""

    def __init__(self, policy: Policy, requester: str = "", memberships: Memberships = EMPTY, concourse: str = "") -> None:
        """Read the policy's lists.

        `memberships`: groups by identity, in addition to those of the policy. `concourse`: URL of the
        Concourse whose build made the claim. An identity `concourse:NAME` means a name there.
        """
        self._policy = policy
        self._concourse = concourse
        listed = [(identity, person) for person, identities in policy.people.items() for identity in identities]
        # Where the short and the full spelling of an identity are listed under two people, the full one wins.
        listed.sort(key=lambda one: is_full(one[0]))
        self._person = {self._spelled(identity): person for identity, person in listed}
        self._groups: dict[str, set[str]] = {}
        self._groups_listing: dict[str, set[str]] = {}
        for group, members in policy.groups.items():
            for member in members:
                if member.startswith(OIDC_GROUP):
                    self._groups_listing.setdefault(member, set()).add(group)
                else:
                    self._groups.setdefault(self.person(member), set()).add(group)
        for identity, groups in memberships.items():
            if not identity.startswith(TYPED):
                self._groups.setdefault(self.person(identity), set()).update(groups)
        self._requester_name = requester
        self.requester = self._requester(requester)
        """Person who asked for the claim; empty if that is unknown."""
        if requester:
            known = self._groups.get(self.person(self._here(requester)), set())
            self._groups.setdefault(self.requester, set()).update(known)

    def person(self, identity: str) -> str:
        """Return the person with that identity. An identity that no list has is a person of its own."""
        if identity.startswith(TYPED):
            return TYPED_NAMES
        spelled = self._spelled(identity)
        return self._person.get(spelled, spelled)

    def listed(self, person: str) -> bool:
        """Whether `people` lists that person."""
        return person in self._policy.people

    def counts(self, identity: str) -> bool:
        """Whether the policy counts reviews under that identity.

        A member of Slack or a channel's link counts only where the policy names it. A name of Concourse
        counts where `reviewers` says so. Without `reviewers`, it counts where the policy names it, or has no
        Rego and names nobody at all.
        """
        policy = self._policy
        if identity.startswith(SENT):
            return identity in (name for _, name in identities_in(policy))
        if not identity.startswith(CONCOURSE):
            return True
        if policy.reviewers is not None:
            return policy.reviewers.concourse
        lists = (policy.approval_rules, policy.rego, policy.people, policy.groups, policy.bypass, policy.delegates)
        return not any(lists) or self._spelled(identity) in (self._spelled(name) for _, name in identities_in(policy))

    def groups_of(self, person: str) -> frozenset[str]:
        """Return the groups of a person."""
        return frozenset(self._groups.get(person, ()))

    @property
    def issuers_groups(self) -> list[str]:
        """Return the issuers' groups that the policy counts as members of its own."""
        return list(self._groups_listing)

    def _issued_groups(self, review: Review) -> set[str]:
        """Return the groups that the reviewer's issuer named, and the policy's groups that list those."""
        if not review.reviewer.startswith("oidc:"):
            return set()
        # An issuer is trusted for its own groups alone.
        issuer = review.reviewer.removeprefix("oidc:").partition("#")[0]
        told = {group for group in review.groups if group.startswith(f"{OIDC_GROUP}{issuer}#")}
        return told.union(*(self._groups_listing.get(group, ()) for group in told))

    @property
    def everybody(self) -> list[str]:
        """Return the people whom the policy names, without those who only delegate, and a known requester."""
        found = [*self._groups, *self._policy.people]
        found += [self.person(rule.user) for rule in self._policy.approval_rules if rule.user]
        found += [self.person(delegate.delegate) for delegate in self._policy.delegates]
        found += [self.person(user) for user in (self._policy.bypass.users if self._policy.bypass else ())]
        return list(dict.fromkeys(found))

    def can_be(self, person: str) -> bool:
        """Whether an identity of that person counts: one that `people` lists, else the name itself."""
        return any(":" in identity and self.counts(identity) for identity in self._policy.people.get(person, (person,)))

    def is_one_of(self, voice: Voice, users: Iterable[str], groups: Iterable[str]) -> bool:
        """Whether the person is one of the users, or in one of the groups. Delegation doesn't count."""
        if voice.typed:
            return False
        return voice.person in {self.person(user) for user in users} or bool(voice.own_groups & set(groups))

    def may_be_requester(self, identity: str) -> bool:
        """Whether that identity is the requester's, or may be.

        Where `people` lists both, the lists decide. Otherwise names are compared without case, among them the
        last part of an ARN. A name may belong to somebody else by chance, which only refuses an approval.
        """
        if not self.requester or identity.startswith(TYPED):
            return False
        person = self.person(identity)
        spelled = self._spelled(identity)
        resembling = (self.requester, self._person.get(self._requester_name), *self._at_concourse(self._requester_name))
        if person in resembling or spelled == self._here(self._requester_name):
            return True
        if spelled in self._person and self.requester in self._policy.people:
            return False
        if identity.startswith(SLACK):
            # A member's id resembles no name, so only `people` tells which user of Concourse the member is.
            return not any(one.startswith(CONCOURSE) for one in self._policy.people.get(person, ()))
        own = name_at_concourse(spelled) or identity.rsplit("/", 1)[-1]
        return _bare(self._requester_name) in (_bare(person), _bare(own))

    def voices(self, reviews: Iterable[Review]) -> list[Voice]:
        """Return each person's newest review, among those that the policy counts.

        All typed names are one person. A rejection under one of them stands, whatever another says.
        """
        by_person: dict[str, list[Review]] = {}
        for review in reviews:
            if not self.counts(review.reviewer):
                continue
            by_person.setdefault(self.person(review.reviewer), []).append(review)
        heard = {person: _newest(said) for person, said in by_person.items()}
        against = frozenset(person for person, review in heard.items() if review.verdict is Verdict.REJECT)
        shown = self._shown({person: review.reviewer for person, review in heard.items()})
        return [self._voice(person, review, against, shown[person]) for person, review in sorted(heard.items())]

    def hearings(self, reviews: Sequence[Review]) -> list[list[Voice]]:
        """Return a list of voices for each choice of approvals that counts no human twice; the largest first.

        One human may approve by AWS and by a Concourse, by two Concourses, by Slack, or by a channel's link.
        AWS with all issuers is one side; each Concourse, each workspace of Slack and each channel is another.
        Two approvals are by two people if one side has identities of both, or if `people` lists them apart.
        Otherwise each way counts approvals of one side, and sets `may_be` on the others. Some ways leave
        sources of a side out, so that no stranger's approval keeps a listed person's from counting.
        """
        voices = self.voices(reviews)
        approving = [voice for voice in voices if voice.approves]
        if not any(voice.identity.startswith(APART) for voice in approving):
            return [voices]
        # A person may approve under several identities. One of AWS or an issuer is enough to be trusted.
        trusted = {
            self.person(review.reviewer)
            for review in reviews
            if review.verdict is Verdict.APPROVE and not review.reviewer.startswith(APART)
        }
        strangers = [voice for voice in approving if voice.person not in self._policy.people]
        listed = [voice for voice in approving if voice not in strangers]
        ways: dict[frozenset[str], str] = {}
        for chosen in _choices([voice.identity for voice in strangers]):
            heard = [voice for voice in strangers if knower(voice.identity) in chosen]
            counted = [
                voice
                for voice in approving
                if voice in heard
                or (voice in listed and all(self._told_apart(voice.person, other.identity, trusted) for other in heard))
            ]
            if counted:
                uncounted = frozenset(voice.person for voice in approving) - {voice.person for voice in counted}
                ways.setdefault(uncounted, counted[0].shown)
        return [
            [replace(voice, may_be=beside) if voice.person in uncounted else voice for voice in voices]
            for uncounted, beside in sorted(ways.items(), key=lambda way: (len(way[0]), sorted(way[0])))
            if not any(more < uncounted for more in ways)
        ]

    def _told_apart(self, listed: str, stranger: str, trusted: Container[str]) -> bool:
        """Whether the listed person and the stranger's identity, which no list has, are certainly two people.

        AWS and issuers are trusted to tell people apart; `trusted` are the people who approve by one of them.
        A Concourse and a workspace of Slack tell their own people apart. A channel's link may be used by
        anybody who has it.
        """
        if listed in trusted and not stranger.startswith(APART):
            return True
        known = (self._spelled(identity) for identity in self._policy.people[listed])
        return knower(stranger) in map(knower, known)

    def _shown(self, identities: Mapping[str, str]) -> dict[str, str]:
        """Return each person's shortest name that is nobody else's, given the identity that they used."""
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
        own = self.groups_of(person) | self._issued_groups(newest)
        may_be_requester = self.may_be_requester(newest.reviewer)
        stands_for = {} if typed else self._stands_for(person, newest.at, against)
        return Voice(
            person=person,
            identity=newest.reviewer,
            login=self.requester if may_be_requester else TYPED_LOGIN if typed else person,
            shown=shown,
            approves=newest.verdict is Verdict.APPROVE,
            comment=newest.comment,
            at=newest.at,
            typed=typed,
            may_be_requester=may_be_requester,
            groups=own.union(*stands_for.values()),
            stands_for=stands_for,
            own_groups=own,
            represented_as=newest.represented_as,
            forced=newest.forced and not typed,
            inputs=newest.inputs,
        )

    def _stands_for(self, person: str, at: datetime, against: frozenset[str]) -> dict[str, frozenset[str]]:
        """Return the people for whom that person stood in at that instant, with their groups.

        Left out are people who reject the claim themselves, and a requester who may not approve.
        """
        found = {}
        for delegate in self._policy.delegates:
            principal = self.person(delegate.person)
            if self.person(delegate.delegate) != person or principal in against:
                continue
            if not self._policy.allow_self_approval and (principal == self.requester or self.may_be_requester(delegate.person)):
                continue
            if delegate.from_ <= at.astimezone(delegate.tz).date() <= delegate.until:
                found[principal] = self.groups_of(principal)
        return found

    def _spelled(self, identity: str) -> str:
        """Return the canonical spelling of an identity.

        A name of Concourse gets the URL of the claim's Concourse, if the claim tells it.
        """
        if not identity.startswith(CONCOURSE):
            return identity
        told = identity.removeprefix(CONCOURSE)
        if is_full(identity):
            url, _, name = told.partition("#")
            return at_concourse(url, name)
        return self._here(told)

    def _here(self, name: str) -> str:
        return at_concourse(self._concourse, name) if self._concourse else f"{CONCOURSE}{name}"

    def _at_concourse(self, name: str) -> list[str]:
        """Return the people listed with that name at any Concourse. Each of them may be the requester."""
        at = ((person, identity) for identity, person in self._person.items() if identity.startswith(CONCOURSE))
        return [person for person, identity in at if name_at_concourse(identity) == name]

    def _requester(self, name: str) -> str:
        """Return the listed person with that name at the claim's Concourse, else the name itself.

        A name that only resembles a listed one is not that person, since anyone may choose a name.
        `may_be_requester` accepts similar names too, since a wrong match there only refuses an approval.
        """
        listed = self._person.get(self._here(name)) if name else None
        return listed or (name if ":" in name else self._person.get(name, name))


def _choices(strangers: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Yield each set of sources whose strangers can count together: a subset of one side, or none."""
    sides: dict[str, set[str]] = {}
    for identity in strangers:
        source = knower(identity)
        sides.setdefault(source if identity.startswith(APART) else "", set()).add(source)
    for sources in sides.values():
        sizes = range(1, len(sources) + 1) if len(sources) <= MANY_SOURCES else (1, len(sources))
        for size in sizes:
            yield from itertools.combinations(sorted(sources), size)
    yield ()


def _names(person: str, identity: str) -> list[str]:
    """Return the names of a person for messages, the shortest first, the one that is unique last."""
    if person != TYPED_NAMES and is_full(person):
        name = name_at_concourse(person)
        # A name that could be read as several names is shown with its Concourse.
        return [name, person] if re.fullmatch(r"[\w.@+-]+( [\w.@+-]+)*", name) else [person]
    if person not in (TYPED_NAMES, identity):
        return [person]
    found = re.fullmatch(r"aws:arn:[\w-]+:(?:iam|sts)::\d+:(?:user/(?:.*/)?([^/]+)|assumed-role/(.+))", identity)
    # Whoever assumes a role chooses the session's name, so it is shown with the role.
    return [found[1] or found[2], identity] if found else [identity]


def _newest(said: list[Review]) -> Review:
    """Return one person's newest review.

    Of two at the same instant the rejection is the newest; of typed names, a rejection always is.
    """

    def order(review: Review) -> tuple[bool, datetime, bool, str]:
        rejects = review.verdict is Verdict.REJECT
        return rejects and review.reviewer.startswith(TYPED), review.at, rejects, review.reviewer

    return max(said, key=order)


def _bare(name: str) -> str:
    """Return a name without case and mail host, and without the `…` and digest that end a long one."""
    return unicodedata.normalize("NFKC", name.partition("@")[0].partition("…")[0]).casefold()
