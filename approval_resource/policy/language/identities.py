"""Forms and spellings of callers' identities, so that a policy can't name one that nobody will ever have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from approval_resource.text import clean, seen

if TYPE_CHECKING:
    from approval_resource.policy.language.document import Policy

Path = tuple[str | int, ...]

CONCOURSE = "concourse:"
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
    """Yield each identity in the policy that no caller can have: its place, and the form that would match."""
    listed = {identity for identities in policy.people.values() for identity in identities}
    for path, name in _named(policy):
        # A rule may name a listed person by any of their identities; the list itself is looked at once.
        known = name in policy.people or (path[0] != "people" and name in listed)
        if not known and (why := fault(name)):
            yield path, f"nobody can be {clean(name)}: {why}"


def _named(policy: Policy) -> Iterator[tuple[Path, str]]:
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
    """Return why no caller can have that identity, and the form that would match; an empty text where one can.

    A name without a prefix is a person's or a group's.
    """
    prefix, colon, rest = identity.partition(":")
    if not colon:
        return ""
    kind = prefix.lower()
    if kind == "arn":
        return f"write {_arn(identity) or SHOWN['aws']}"
    if kind == "typed":
        return f"a typed name proves nothing; write {SHOWN['aws']}"
    if kind not in FORMS:
        kinds = ", ".join(f"{known}:" for known in FORMS)
        return f"{clean(prefix)[:40]}: is no kind of identity; there are {kinds} as in {SHOWN['aws']}"
    if prefix != kind:
        return f"write {kind}: in small letters, as in {_arn(rest) if kind == 'aws' and _arn(rest) else SHOWN[kind]}"
    if kind == "concourse" and seen(rest) != rest:
        return f"a build tells such a name as {seen(rest)}…, with a digest; copy it from the claim's requester"
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
    """Return the identity that was probably meant by an ARN, or an empty string."""
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
    """Return the identity of that name at the Concourse of that address, however the address is written."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    scheme, host = scheme.lower(), host.lower()
    return f"{CONCOURSE}{scheme}://{host.removesuffix(DEFAULT_PORTS.get(scheme, ''))}{(slash + path).rstrip('/')}#{name}"


def name_at_concourse(identity: str) -> str:
    """Return the name in a full identity of Concourse's, or an empty string for any other."""
    return identity.partition("#")[2] if is_full(identity) else ""


def is_full(identity: str) -> bool:
    """Whether that is an identity of Concourse's with its address."""
    return identity.startswith(CONCOURSE) and "://" in identity.partition("#")[0] and "#" in identity


def knower(identity: str) -> str:
    """Return who knows that identity: AWS, an issuer or a Concourse, each of which tells its people apart."""
    return identity.partition("#")[0] if "#" in identity else identity.partition(":")[0]
