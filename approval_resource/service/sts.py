"""Identities that AWS proves: a presigned request for GetCallerIdentity, sent on to STS alone."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from approval_resource.policy.language.identities import CALLER
from approval_resource.program import called
from approval_resource.service.config import Aws
from approval_resource.service.fetch import Web
from approval_resource.service.oidc import NotSignedInError
from approval_resource.service.people import Person
from approval_resource.service.signing import decoded
from approval_resource.store.dynamodb.presigned import HEADER, PREFIX

MAX_TOKEN = 8_192
MAX_EXPIRES = 900
WANTED = {"Action": "GetCallerIdentity", "Version": "2011-06-15", "X-Amz-Algorithm": "AWS4-HMAC-SHA256"}
SIGNED = {"X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature", "X-Amz-Security-Token"}
ARN = re.compile(rb"<Arn>([^<]{1,2048})</Arn>|\"Arn\"\s*:\s*\"([^\"]{1,2048})\"")


class Sts:
    """STS of one region. It tells who signed a presigned request."""

    def __init__(self, aws: Aws, service: str, web: Web) -> None:
        """Take requests that are bound to `service`, from callers in the accounts that `aws` names."""
        self._address = aws.sts or f"https://sts.{aws.region}.{_domain(aws.region)}"
        self._accounts = frozenset(aws.accounts)
        self._service = service
        self._web = web

    def person(self, token: str) -> Person:
        """Return whoever signed the request in that token.

        Raises:
            NotSignedInError: it is no such request, or STS doesn't take it.
            UnreachableError: STS can't be asked.
        """
        query = _query(token)
        status, body = self._web.ask(f"{self._address}/?{urlencode(query, quote_via=quote)}", headers={HEADER: self._service})
        found = ARN.search(body)
        arn = (found[1] or found[2]).decode("ascii", "replace") if found else ""
        if status != 200 or not CALLER.fullmatch(arn):
            raise NotSignedInError("STS doesn't take the request in the token; make a new one")
        if arn.split(":")[4] not in self._accounts:
            raise NotSignedInError("your AWS account is none that reviews here")
        return Person(identity=f"aws:{arn}", name=arn.rpartition("/")[2], via="sts")


def _domain(region: str) -> str:
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"


def _query(token: str) -> list[tuple[str, str]]:
    """Return the query of the presigned request. Its host and path are ignored: the service sends it to STS.

    Raises:
        NotSignedInError: it asks for something else, or isn't bound to a service.
    """
    try:
        address = decoded(token.removeprefix(PREFIX)[:MAX_TOKEN]).decode("ascii")
        query = parse_qsl(urlsplit(address).query, strict_parsing=True)
        given = dict(query)
        fit = len(given) == len(query) and given.keys() <= SIGNED | WANTED.keys()
        fit = fit and all(given.get(name) == value for name, value in WANTED.items())
        fit = fit and {"host", HEADER} <= set(given["X-Amz-SignedHeaders"].split(";"))
        fit = fit and 0 < int(given["X-Amz-Expires"]) <= MAX_EXPIRES
    except (ValueError, KeyError, UnicodeDecodeError):
        fit = False
    if not fit:
        raise NotSignedInError(
            f"the token is no presigned GetCallerIdentity for this service; make one with {called()} --service"
        )
    return query
