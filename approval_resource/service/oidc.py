"""OpenID Connect: an issuer's configuration and keys, its tokens verified, and the code flow with PKCE."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import jwt

from approval_resource.errors import ApprovalError
from approval_resource.service.config import local
from approval_resource.service.fetch import UnreachableError, Web, json_object
from approval_resource.service.looks import Cache
from approval_resource.service.people import Person, issuers_group
from approval_resource.service.signing import encoded
from approval_resource.text import clean

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Algorithms of tokens that are taken: signatures with a public key alone."""
MAX_TOKEN = 32_768
MAX_NAME = 255
MAX_GROUPS = 1_000
FRESH_SECONDS = 3_600.0
"""Longest use of an issuer's configuration and keys, in seconds: after that, a withdrawn key is refused."""
KEYS_SECONDS = 60.0
"""Shortest time between two fetches of an issuer's keys, however many tokens name an unknown key."""
LEEWAY = timedelta(seconds=60)


class NotSignedInError(ApprovalError):
    """Refusal: nobody has proven who they are, or the proof doesn't hold."""


class Issuer:
    """Issuer: its configuration, its keys, and the verification of its tokens."""

    def __init__(self, issuer: str, discovery: str | None, web: Web) -> None:
        """Look for its configuration at `discovery`, or below the issuer's own address."""
        self.name = issuer
        self._base = (discovery or issuer).rstrip("/")
        self.web = web
        self._lock = threading.Lock()
        self._configurations: Cache[dict[str, Any]] = Cache(FRESH_SECONDS)
        self._keys: Cache[dict[str, jwt.PyJWK]] = Cache(FRESH_SECONDS)
        self._looked = float("-inf")

    def configuration(self) -> dict[str, Any]:
        """Return the issuer's configuration, which is looked up once an hour.

        Raises:
            UnreachableError: it can't be had, or is another issuer's.
        """
        return self._configurations.get("", self._configured)

    def _configured(self) -> dict[str, Any]:
        well_known = "/.well-known/openid-configuration"
        url = self._base if self._base.endswith(well_known) else self._base + well_known
        found = self.web.document(url)
        if found.get("issuer") != self.name:
            raise UnreachableError(f"{url} is the configuration of another issuer than {self.name}")
        return found

    def endpoint(self, name: str) -> str:
        """Return the address of one of the issuer's endpoints.

        Raises:
            UnreachableError: it names none, or one that isn't https.
        """
        url = self.configuration().get(name)
        if not isinstance(url, str) or not (url.startswith("https://") or (local(self._base) and local(url))):
            raise UnreachableError(f"the configuration of {self.name} has no {name} by https")
        return url

    def claims(self, token: str, audience: str, now: datetime, *, own: bool = False, event: bool = False) -> dict[str, Any]:
        """Verify a token and return its claims. With `own`, the audience itself must have requested it.

        `event`: the token may tell of an event, such as a logout, and name a session instead of a subject.

        Raises:
            NotSignedInError: the token isn't this issuer's, for this audience and valid now.
            UnreachableError: the issuer's keys can't be had.
        """
        if len(token) > MAX_TOKEN:
            raise NotSignedInError("the token is too long")
        try:
            header = jwt.get_unverified_header(token)
            key = self._key(header)
            if header.get("alg") not in ALGORITHMS:
                raise NotSignedInError("the token is signed by an algorithm that isn't taken")
            # Times are compared with the store's clock, below.
            found: dict[str, Any] = jwt.decode(
                token,
                key=key,
                algorithms=list(ALGORITHMS),
                options={
                    "verify_signature": True,
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_aud": False,
                    "verify_iss": False,
                    "verify_sub": False,
                    "verify_jti": False,
                },
            )
        except (jwt.PyJWTError, ValueError, RecursionError) as wrong:
            raise NotSignedInError(f"the token can't be verified ({type(wrong).__name__})") from wrong
        _require_claims(found, self.name, audience, now)
        _require_subject(found, event=event)
        several = isinstance(found["aud"], list) and len(found["aud"]) > 1
        if own and found.get("azp", "" if several else audience) != audience:
            raise NotSignedInError("the token was asked for by somebody else")
        return found

    def _key(self, header: Mapping[str, Any]) -> jwt.PyJWK:
        kid = header.get("kid", "")
        known = _named(kid, self._keys.get("", self._fetched))
        if known is None:
            with self._lock:
                if time.monotonic() - self._looked > KEYS_SECONDS:
                    self._looked = time.monotonic()
                    self._keys.forget("")
            # Concurrent callers wait for the same fetch.
            known = _named(kid, self._keys.get("", self._fetched))
        if known is None:
            raise NotSignedInError("the token is signed by a key that its issuer doesn't publish")
        return known

    def _fetched(self) -> dict[str, jwt.PyJWK]:
        self._looked = time.monotonic()
        found = self.web.document(self.endpoint("jwks_uri")).get("keys")
        keys: dict[str, jwt.PyJWK] = {}
        for number, one in enumerate(found if isinstance(found, list) else []):
            if not isinstance(one, dict) or one.get("kty") == "oct" or one.get("use", "sig") != "sig":
                continue
            try:
                key = jwt.PyJWK(one)
            except (jwt.PyJWTError, ValueError, KeyError, TypeError, AttributeError):
                continue  # a key that can't be read signs nothing, and hinders no other
            if key.algorithm_name in ALGORITHMS:
                keys[str(one.get("kid", number))] = key
        return keys


def _named(kid: object, keys: Mapping[str, jwt.PyJWK]) -> jwt.PyJWK | None:
    if kid:
        return keys.get(str(kid))
    return next(iter(keys.values())) if len(keys) == 1 else None


def _require_claims(found: Mapping[str, Any], issuer: str, audience: str, now: datetime) -> None:
    named = found.get("aud")
    audiences = [named] if isinstance(named, str) else named if isinstance(named, list) else []
    expires, issued, begins = _instant(found.get("exp")), _instant(found.get("iat")), _instant(found.get("nbf"))
    for wrong, why in (
        (found.get("iss") != issuer, "is another issuer's"),
        (audience not in audiences, "is for another audience"),
        (expires is None or expires + LEEWAY <= now, "has expired"),
        ("iat" in found and (issued is None or issued - LEEWAY > now), "is dated ahead of time"),
        ("nbf" in found and (begins is None or begins - LEEWAY > now), "isn't valid yet"),
    ):
        if wrong:
            raise NotSignedInError(f"the token {why}")


def _require_subject(found: Mapping[str, Any], *, event: bool) -> None:
    if "events" in found and not event:
        raise NotSignedInError("the token tells of an event, and not of who somebody is")
    subject = found.get("sub", found.get("sid") if event else None)
    if not isinstance(subject, str) or not fit_name(subject):
        raise NotSignedInError("the token names nobody")


def fit_name(text: str) -> bool:
    """Whether a name can be stored unchanged: not empty, not too long, and of visible characters alone."""
    return bool(text.strip()) and len(text) <= MAX_NAME and text == clean(text).strip()


def _instant(seconds: object) -> datetime | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        return None


def person_of(claims: Mapping[str, Any], groups_claim: str, via: str) -> Person:
    """Return the person that verified claims are about.

    Raises:
        NotSignedInError: their groups have another form than names.
    """
    issuer = str(claims["iss"])
    told = claims.get(groups_claim, [])
    told = [told] if isinstance(told, str) else told
    if not isinstance(told, list) or not all(isinstance(name, str) for name in told) or len(told) > MAX_GROUPS:
        raise NotSignedInError(f"the token's {groups_claim} is no list of names")
    names = sorted({name for name in told if fit_name(name)})
    indirect = claims.get("_claim_names")
    overage = bool(claims.get("hasgroups")) or (isinstance(indirect, Mapping) and groups_claim in indirect)
    label = claims.get("name") or claims.get("preferred_username") or claims.get("cognito:username") or ""
    return Person(
        identity=f"oidc:{issuer}#{claims['sub']}",
        name=clean(str(label))[:MAX_NAME],
        mail=clean(str(claims.get("email") or ""))[:MAX_NAME],
        groups=tuple(issuers_group(issuer, name) for name in names),
        overage=overage,
        via=via,
        # A bearer token seldom has auth_time. iat stands in for it, though the sign-in was earlier.
        auth_time=_instant(claims.get("auth_time", claims.get("iat") if via == "bearer" else None)),
    )


@dataclass(frozen=True, slots=True)
class Client:
    """Client of the login's issuer: the code flow with PKCE, state and nonce."""

    issuer: Issuer
    client_id: str
    client_secret: str
    redirect_uri: str
    scopes: tuple[str, ...]

    def __repr__(self) -> str:
        """Return the client's id, without its secret."""
        return f"Client({self.client_id!r})"

    def authorization_url(self, *, state: str, nonce: str, verifier: str, max_age: int | None) -> str:
        """Return the address at which the browser signs in."""
        challenge = encoded(hashlib.sha256(verifier.encode()).digest())
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": " ".join(self.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        } | ({"max_age": str(max_age)} if max_age is not None else {})
        address = self.issuer.endpoint("authorization_endpoint")
        return f"{address}{'&' if '?' in address else '?'}{urlencode(query)}"

    def claims(self, code: str, *, verifier: str, nonce: str, now: datetime) -> dict[str, Any]:
        """Exchange a code for an id token, and return its claims.

        Raises:
            NotSignedInError: the issuer refuses the code, or its token doesn't hold.
            UnreachableError: the issuer can't be asked.
        """
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": verifier,
        }
        headers = {"Accept": "application/json"}
        methods = self.issuer.configuration().get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        if "client_secret_basic" in methods:
            pair = f"{quote(self.client_id, safe='')}:{quote(self.client_secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": self.client_id, "client_secret": self.client_secret}
        status, body = self.issuer.web.ask(self.issuer.endpoint("token_endpoint"), form=form, headers=headers)
        answer = json_object(body) or {}
        token = answer.get("id_token")
        if status != 200 or not isinstance(token, str):
            raise NotSignedInError(f"the issuer refused the sign-in ({clean(str(answer.get('error') or status))[:80]})")
        found = self.issuer.claims(token, self.client_id, now, own=True)
        if not hmac.compare_digest(str(found.get("nonce") or "").encode(), nonce.encode()):
            raise NotSignedInError("the token belongs to another sign-in")
        return found
