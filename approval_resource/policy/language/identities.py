"""Forms and spellings of identities. Lint finds an identity that no caller can have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from approval_resource.text import as_displayed, clean

if TYPE_CHECKING:
    from approval_resource.policy.language.document import Policy

Path = tuple[str | int, ...]

CONCOURSE = "concourse:"
SLACK = "slack:"
LINK = "link:"
SENT = (SLACK, LINK)
"""Prefixes of identities that prove only access to a place where messages are sent.

They count only where a policy names them.
"""
OIDC_GROUP = "oidc-group:"
"""Prefix of a group that an issuer tells of its people, as `oidc-group:ISSUER#NAME`."""
DEFAULT_PORTS = {"https": ":443", "http": ":80"}

PARTITION = r"aws(?:-cn|-us-gov|-iso(?:-[bef])?|-eusc)?"
NAME = r"[\w+=,.@-]"
CALLER = re.compile(
    rf"arn:{PARTITION}:(?:"
    rf"iam::\d{{1,12}}:(?:root|user/(?:[!-)+->@-~]*/)?{NAME}{{1,64}})|"
    rf"sts::\d{{1,12}}:(?:assumed-role/{NAME}{{1,64}}/{NAME}{{2,64}}|federated-user/{NAME}{{2,32}}))",
    re.ASCII,
)
"""ARNs that STS returns for a caller."""
ARN = re.compile(r"arn:([\w-]+):([\w-]+):([^:]*):([^:]*):(.+)", re.ASCII)
FORMS = {
    "aws": CALLER,
    "oidc": re.compile(r"https://[^\s#]+#\S.*"),
    "concourse": re.compile(r"https?://[^\s#]+#\S.*"),
    "slack": re.compile(r"[A-Z0-9]+#[A-Z0-9]+"),
    "link": re.compile(r"\S.*"),
}
"""Form of each kind of identity, after its prefix."""
SHOWN = {
    "aws": "aws:arn:aws:iam::ACCOUNT:user/NAME or aws:arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION",
    "oidc": "oidc:https://ISSUER#SUB",
    "concourse": "concourse:https://HOST#NAME or concourse:NAME",
    "slack": "slack:TEAM#USER",
    "link": "link:CHANNEL",
}


def unmatchable(policy: Policy) -> Iterator[tuple[Path, str]]:
    """Yield each identity that no caller can have: its path in the policy, and the right form."""
    listed = {identity for identities in policy.people.values() for identity in identities}
    for path, name in identities_in(policy):
        # A rule may name a listed person by any identity of theirs. The list itself is checked once.
        known = name in policy.people or (path[0] != "people" and name in listed)
        if path[0] == "groups" and FORMS["oidc"].fullmatch(name.removeprefix(OIDC_GROUP)):
            continue
        if not known and (why := fault(name)):
            yield path, f"nobody can be {clean(name)}: {why}"


def identities_in(policy: Policy) -> Iterator[tuple[Path, str]]:
    """Yield each person and identity in the policy, as it is spelled there, with its path."""
    for option, lists in (("people", policy.people), ("groups", policy.groups)):
        for key, names in lists.items():
            yield from (((option, key, number), name) for number, name in enumerate(names))
    for number, rule in enumerate(policy.approval_rules):
        if rule.user is not None:
            yield ("approval_rules", number, "user"), rule.user
    for number, user in enumerate(policy.bypass.users if policy.bypass else ()):
        yield ("bypass", "users", number), user
    for number, delegate in enumerate(policy.delegates):
        yield ("delegates", number, "person"), delegate.person
        yield ("delegates", number, "delegate"), delegate.delegate


def fault(identity: str) -> str:
    """Return why no caller can have that identity, with the right form; empty where a caller can.

    A name without a prefix means a person or a group, and is no identity.
    """
    prefix, colon, rest = identity.partition(":")
    if not colon:
        return ""
    kind = prefix.lower()
    if kind == "arn":
        return f"write {_arn(identity) or SHOWN['aws']}"
    if kind == "typed":
        return f"a typed name proves nothing; write {SHOWN['aws']}"
    if f"{kind}:" == OIDC_GROUP:
        return f"that is an issuer's group; list it as a member under groups, as {OIDC_GROUP}https://ISSUER#NAME"
    if kind not in FORMS:
        kinds = ", ".join(f"{known}:" for known in FORMS)
        return f"{clean(prefix)[:40]}: is no kind of identity; there are {kinds} as in {SHOWN['aws']}"
    if prefix != kind:
        return f"write {kind}: in small letters, as in {_arn(rest) if kind == 'aws' and _arn(rest) else SHOWN[kind]}"
    if kind == "concourse" and as_displayed(rest) != rest:
        return (
            "the name has invisible or irregular characters, so a build records it as "
            f"{as_displayed(rest)}… with a digest; copy it from the claim's requester"
        )
    if FORMS[kind].fullmatch(rest):
        return ""
    if kind == "aws":
        return _aws(rest)
    if kind == "concourse" and rest.strip() and "://" not in rest:
        return ""
    return f"write {SHOWN[kind]}"


def _aws(arn: str) -> str:
    if re.search(r"[*?]", arn):
        return f"identities are not patterns; list each in full, as {SHOWN['aws']}"
    parts = ARN.fullmatch(arn)
    if parts and not re.fullmatch(r"\d{1,12}", parts[4], re.ASCII):
        return f"an account has 12 digits; write {SHOWN['aws']}"
    if meant := _arn(arn):
        role = " (STS reports a role's session, without the role's path)" if "assumed-role/" in meant else ""
        return f"write {meant}{role}"
    return f"STS reports {SHOWN['aws']}"


def _arn(arn: str) -> str:
    """Return the identity that an ARN was probably meant to be, or an empty string."""
    parts = ARN.fullmatch(arn if arn.startswith("arn:") else f"arn:{arn[4:]}" if arn[:4].lower() == "arn:" else "")
    if not parts or not re.fullmatch(r"\d{1,12}", parts[4], re.ASCII):
        return ""
    partition, account = parts[1].lower(), parts[4]
    kind, *names = parts[5].split("/")
    kind = kind.lower()
    meant = ""
    if kind == "root" and not names:
        meant = f"iam::{account}:root"
    elif kind == "user" and all(names) and names:
        meant = f"iam::{account}:user/{'/'.join(names)}"
    elif kind == "role" and names:
        return f"aws:arn:{partition}:sts::{account}:assumed-role/{names[-1]}/SESSION"
    elif kind == "assumed-role" and names:
        role, session = (names[-2], names[-1]) if len(names) > 1 else (names[0], "SESSION")
        meant = f"sts::{account}:assumed-role/{role}/{session}"
    elif kind == "federated-user" and len(names) == 1:
        meant = f"sts::{account}:federated-user/{names[0]}"
    found = f"arn:{partition}:{meant}"
    return f"aws:{found}" if CALLER.fullmatch(found) else ""


def at_concourse(url: str, name: str) -> str:
    """Return the identity of a name at a Concourse. Spellings of one URL give the same identity."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    scheme, host = scheme.lower(), host.lower()
    return f"{CONCOURSE}{scheme}://{host.removesuffix(DEFAULT_PORTS.get(scheme, ''))}{(slash + path).rstrip('/')}#{name}"


def name_at_concourse(identity: str) -> str:
    """Return the name in `concourse:URL#NAME`, or an empty string for any other identity."""
    return identity.partition("#")[2] if is_full(identity) else ""


def is_full(identity: str) -> bool:
    """Whether the identity is of the form `concourse:URL#NAME`."""
    return identity.startswith(CONCOURSE) and "://" in identity.partition("#")[0] and "#" in identity


def knower(identity: str) -> str:
    """Return the source of an identity: AWS, an issuer, a Concourse, a workspace of Slack, or a channel.

    Each but a channel tells its people apart. Anybody who has a channel's link can reply by it.
    """
    if identity.startswith(LINK):
        return identity
    return identity.partition("#")[0] if "#" in identity else identity.partition(":")[0]
