"""Callers: who made a request, by a session's cookie, a bearer token, STS, or a signing load balancer."""

from __future__ import annotations

import base64
import json
import re
import threading
from datetime import datetime

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from approval_resource.service.config import Balancer, Config, Machine
from approval_resource.service.fetch import UnreachableError, Web
from approval_resource.service.oidc import LEEWAY, MAX_TOKEN, Issuer, NotSignedInError, fit_name, person_of
from approval_resource.service.people import Person
from approval_resource.service.sessions import Sessions
from approval_resource.service.sts import Sts
from approval_resource.store.dynamodb.presigned import PREFIX

KEY_ID = re.compile(r"[0-9a-f-]{36}")
MAX_KEYS = 16


class LoadBalancer:
    """Load balancer of AWS whose signed header says who signed in to it."""

    def __init__(self, balancer: Balancer, web: Web) -> None:
        """Take what `balancer` signs, and nothing else."""
        self._arn = balancer.arn
        self._issuer = balancer.issuer
        region = balancer.arn.split(":")[3]
        self._keys_at = balancer.keys or f"https://public-keys.auth.elb.{region}.amazonaws.com"
        self._web = web
        self._lock = threading.Lock()
        self._keys: dict[str, EllipticCurvePublicKey] = {}

    def person(self, token: str, now: datetime) -> Person:
        """Return the person that the header is about.

        Raises:
            NotSignedInError: another balancer signed it, or nobody, or it has expired.
            UnreachableError: the balancer's keys can't be had.
        """
        # The balancer pads its base64, which no standard token does, and signs it with the padding.
        try:
            if len(token) > MAX_TOKEN:
                raise NotSignedInError("the balancer's header is too long")
            header = jwt.get_unverified_header(token)
            if header.get("alg") != "ES256" or header.get("signer") != self._arn or header.get("iss") != self._issuer:
                raise NotSignedInError("the header is not signed by the balancer of this service")
            expires = header.get("exp")
            if not isinstance(expires, int) or expires + LEEWAY.total_seconds() <= now.timestamp():
                raise NotSignedInError("the balancer's header has expired")
            key = self._key(str(header.get("kid", "")))
            claims = jwt.decode(token, key, algorithms=["ES256"], options={"verify_exp": False, "verify_aud": False})
        except (jwt.PyJWTError, ValueError, RecursionError) as wrong:
            raise NotSignedInError(f"the balancer's header can't be verified ({type(wrong).__name__})") from wrong
        if not isinstance(claims.get("sub"), str) or not fit_name(claims["sub"]):
            raise NotSignedInError("the balancer's header names nobody")
        return person_of({**claims, "iss": self._issuer}, "groups", "balancer")

    def _key(self, kid: str) -> EllipticCurvePublicKey:
        if not KEY_ID.fullmatch(kid):
            raise NotSignedInError("the balancer's header names no key")
        with self._lock:
            found = self._keys.get(kid)
        if found is None:
            status, body = self._web.ask(f"{self._keys_at}/{kid}")
            if status != 200:
                raise UnreachableError(f"{self._keys_at} has no such key")
            loaded = load_pem_public_key(body)
            if not isinstance(loaded, EllipticCurvePublicKey):
                raise NotSignedInError("the balancer's key is of another kind")
            found = loaded
            with self._lock:
                if len(self._keys) >= MAX_KEYS:
                    self._keys.clear()
                self._keys[kid] = found
        return found


class Callers:
    """All ways in which a request may prove who made it."""

    def __init__(self, config: Config, sessions: Sessions, origin: str, web: Web) -> None:
        """Take the proofs that `config` names."""
        self._sessions = sessions
        self._machines = [(one, Issuer(one.issuer, one.discovery, web)) for one in config.machines]
        self._sts = Sts(config.aws, origin, web) if config.aws else None
        self._balancer = LoadBalancer(config.balancer, web) if config.balancer else None

    @property
    def device(self) -> tuple[Machine, Issuer] | None:
        """Client by which people sign in on the command line, with its issuer; None where there is none."""
        return next((one for one in self._machines if one[0].device), None)

    def person(self, authorization: str, cookie: str, balancer: str, now: datetime) -> Person | None:
        """Return the person that a request's headers prove; None if they carry no proof of identity.

        Raises:
            NotSignedInError: a proof is invalid. No other proof is tried then.
            UnreachableError: a proof can't be checked.
        """
        if authorization:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() != "bearer" or not token.strip():
                raise NotSignedInError("Authorization: must be Bearer and a token")
            return self._bearer(token.strip(), now)
        if balancer and self._balancer:
            return self._balancer.person(balancer, now)
        return self._sessions.person(cookie, now) if cookie else None

    def _bearer(self, token: str, now: datetime) -> Person:
        if token.startswith(PREFIX):
            if self._sts is None:
                raise NotSignedInError("this service takes no AWS identities")
            return self._sts.person(token)
        named = _issuer_in(token)
        refused = NotSignedInError("the token's issuer is none that this service knows")
        for machine, issuer in self._machines:
            if machine.issuer != named:
                continue
            try:
                return person_of(issuer.claims(token, machine.audience, now), machine.groups_claim, "bearer")
            except NotSignedInError as wrong:
                refused = wrong
        raise refused


def _issuer_in(token: str) -> str:
    """Return the issuer that a token names, unverified: it only says whose keys shall verify the token."""
    parts = token.split(".")
    if len(token) > MAX_TOKEN or len(parts) != 3:
        return ""
    try:
        told = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return ""
    return str(told.get("iss", "")) if isinstance(told, dict) else ""
