"""Signing in at the issuer and out again."""

from __future__ import annotations

import hmac
from datetime import timedelta

from starlette.responses import RedirectResponse, Response

from approval_resource.service.acts import StaleSignInError
from approval_resource.service.call import Call
from approval_resource.service.oidc import NotSignedInError, person_of
from approval_resource.service.problems import MalformedError
from approval_resource.service.sessions import COOKIE, issuers_mark, persons_mark
from approval_resource.service.signing import random_text
from approval_resource.text import clean

LOGIN_COOKIE = "__Host-login"
LOGIN_SECONDS = 300
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


def own_path(path: str) -> str:
    """Return the path if it is this service's own, else that of the first page: no open redirect."""
    fit = path.startswith("/") and not path.startswith(("//", "/\\", "/auth/")) and path == clean(path) and "\\" not in path
    return path if fit and len(path) <= 500 else "/"


def login(call: Call) -> Response:
    """Send the browser to the issuer, and remember in a cookie which sign-in this is."""
    service = call.service
    state, nonce, verifier = random_text(), random_text(), random_text() + random_text()
    max_age = service.config.login.max_age
    address = service.client.authorization_url(state=state, nonce=nonce, verifier=verifier, max_age=max_age)
    answer = RedirectResponse(address, 303)
    document = {
        "state": state,
        "nonce": nonce,
        "verifier": verifier,
        "next": own_path(call.query.get("next", "/")),
        "until": (call.now + timedelta(seconds=LOGIN_SECONDS)).timestamp(),
    }
    _set(answer, LOGIN_COOKIE, service.signer.pack("login", document), LOGIN_SECONDS)
    return answer


def callback(call: Call) -> Response:
    """Take the code that the issuer sent the browser back with, and begin a session."""
    service, now = call.service, call.now
    begun = service.signer.unpack("login", call.request.cookies.get(LOGIN_COOKIE, ""))
    state = call.query.get("state", "")
    if begun is None or begun["until"] <= now.timestamp():
        raise NotSignedInError("this sign-in wasn't begun in this browser, or took too long; sign in again")
    if not hmac.compare_digest(begun["state"].encode(), state.encode()):
        raise NotSignedInError("this answer belongs to another sign-in; sign in again")
    if call.query.get("iss", service.client.issuer.name) != service.client.issuer.name:
        raise NotSignedInError("another issuer answered; sign in again")
    if refused := call.query.get("error"):
        raise NotSignedInError(f"the issuer refused the sign-in ({clean(refused)[:80]}); sign in again")
    claims = service.client.claims(call.query.get("code", ""), verifier=begun["verifier"], nonce=begun["nonce"], now=now)
    person = person_of(claims, service.config.login.groups_claim, "session")
    max_age = service.config.login.max_age
    if max_age is not None and (person.auth_time is None or person.auth_time + timedelta(seconds=max_age + 60) < now):
        raise StaleSignInError("the issuer didn't ask you to prove anew who you are, as this service asks it to")
    cookie, _ = service.sessions.begin(person, str(claims.get("sid") or ""), now)
    call.request.scope["told"]["who"] = person.identity
    answer = RedirectResponse(begun["next"], 303)
    answer.delete_cookie(LOGIN_COOKIE, secure=True, httponly=True, samesite="lax")
    _set(answer, COOKIE, cookie, service.config.session.hours * 3600)
    return answer


def logout(call: Call) -> Response:
    """End the session, in this browser and wherever its cookie was copied to."""
    person = call.require_person()
    call.require_own_form(dict(call.form()))
    if person.session:
        call.service.sessions.end(person)
    answer = RedirectResponse("/signed-out", 303)
    answer.delete_cookie(COOKIE, secure=True, httponly=True, samesite="lax")
    return answer


def signed_out(call: Call) -> Response:
    """Say that the session is over, and that the issuer's own may go on."""
    return call.page("signed_out.html")


def backchannel_logout(call: Call) -> Response:
    """End the sessions that the issuer says are over."""
    service = call.service
    token = dict(call.form()).get("logout_token", "")
    claims = service.client.issuer.claims(token, service.client.client_id, call.now, own=True, event=True)
    events = claims.get("events")
    if not isinstance(events, dict) or LOGOUT_EVENT not in events or "nonce" in claims:
        raise MalformedError("the token is no logout token")
    if sid := claims.get("sid"):
        service.endings.end(issuers_mark(claims["iss"], str(sid)))
    else:
        service.endings.end(persons_mark(f"oidc:{claims['iss']}#{claims['sub']}"))
    return Response(status_code=200)


def _set(answer: Response, name: str, value: str, seconds: int) -> None:
    answer.set_cookie(name, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="lax")
