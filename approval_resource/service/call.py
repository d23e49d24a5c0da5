"""One call of the service: its request, whoever makes it, and the parts that answer it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from approval_resource.errors import ApprovalError, ConfigError, StoreUnavailableError
from approval_resource.service.acts import Acts
from approval_resource.service.callers import Callers
from approval_resource.service.config import Config
from approval_resource.service.desk import Desk
from approval_resource.service.guard import SAFE, Buckets
from approval_resource.service.links import Links
from approval_resource.service.metrics import Metrics
from approval_resource.service.oidc import Client, NotSignedInError
from approval_resource.service.people import Person
from approval_resource.service.problems import MalformedError, TooManyError, problem_of, told
from approval_resource.service.render import Pages
from approval_resource.service.sessions import COOKIE, Endings, Sessions
from approval_resource.service.signing import Signer
from approval_resource.service.slack import Slack
from approval_resource.service.telling import Telling
from approval_resource.store.dynamodb.store import DynamoStore

log = logging.getLogger("approval_resource.service.call")

MAX_FIELDS = 200

PAGE_OF = {"review": "", "withdraw": "", "unlink": "/link"}
"""End of the address of a form's page, by the last part of the address that the form is sent to. The
latter address takes no GET."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Parts of a running service."""

    config: Config
    store: DynamoStore
    desk: Desk
    acts: Acts
    sessions: Sessions
    endings: Endings
    callers: Callers
    client: Client
    signer: Signer
    links: Links
    pages: Pages
    metrics: Metrics
    buckets: Buckets
    telling: Telling
    slack: Slack | None

    def now(self) -> datetime:
        """Return the store's time. If the store has never answered yet, ask it first."""
        try:
            return self.store.now()
        except StoreUnavailableError:
            self.store.head(next(iter(self.config.pools)))
            return self.store.now()


class Call:
    """One request, with its body read."""

    def __init__(self, service: Service, request: Request, body: bytes) -> None:
        """Answer `request` by `service`."""
        self.service = service
        self.request = request
        self.body = body
        self._person: tuple[Person | None] | None = None

    @property
    def now(self) -> datetime:
        """The store's time."""
        return self.service.now()

    @property
    def path(self) -> Mapping[str, str]:
        """Parts of the path, by name."""
        return self.request.path_params

    @property
    def query(self) -> Mapping[str, str]:
        """Parameters of the query."""
        return self.request.query_params

    @property
    def for_programs(self) -> bool:
        """Whether the path is the API's, so that a failure is JSON too."""
        return self.request.url.path.startswith("/api/")

    @property
    def person(self) -> Person | None:
        """Person who makes the call, or None if it carries no proof of identity.

        Raises:
            NotSignedInError: a proof doesn't hold.
        """
        if self._person is None:
            headers = self.request.headers
            found = self.service.callers.person(
                headers.get("authorization", ""),
                self.request.cookies.get(COOKIE, ""),
                headers.get("x-amzn-oidc-data", ""),
                self.now,
            )
            self._person = (found,)
            if found is not None:
                self.request.scope["told"]["who"] = found.identity
        return self._person[0]

    def require_person(self) -> Person:
        """Return the person who makes the call.

        Raises:
            NotSignedInError: the call carries no proof of identity, or an invalid one.
        """
        if self.person is None:
            raise NotSignedInError("sign in first" if not self.for_programs else "give a token: Authorization: Bearer TOKEN")
        return self.person

    def form(self) -> list[tuple[str, str]]:
        """Return the fields of a form.

        Raises:
            MalformedError: the body is no form.
        """
        kind = self.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/x-www-form-urlencoded":
            raise MalformedError("the body must be a form, as this service's own pages send it")
        try:
            return parse_qsl(self.body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
        except ValueError as wrong:
            raise MalformedError("the form can't be read") from wrong

    def document(self) -> dict[str, Any]:
        """Parse the body as a JSON object.

        Raises:
            MalformedError: the body is no JSON object.
        """
        kind = self.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            found = json.loads(self.body) if kind == "application/json" else None
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise MalformedError("the body must be a JSON object, with Content-Type: application/json")
        return found

    def page(self, name: str, status: int = 200, **about: Any) -> Response:
        """Return a page of that template."""
        person = self._person[0] if self._person else None
        word = self.service.signer.word("form", person.session, person.identity) if person else ""
        return self.service.pages.response(name, status, person=person, form_word=word, **about)

    def require_own_form(self, fields: Mapping[str, str]) -> None:
        """Pass for a form that this person's own page sent.

        Raises:
            MalformedError: its signature is missing, or of another session.
        """
        person = self.require_person()
        if not self.service.signer.is_word(fields.get("word", ""), "form", person.session, person.identity):
            raise MalformedError("the form is of another session, perhaps an older one of yours; open the page again")


Endpoint = Callable[[Call], Response]


def endpoint(service: Service, answer: Endpoint) -> Callable[[Request], Any]:
    """Return an endpoint that answers in a thread, since the store's client blocks."""
    # Endpoints of approve and reject are partials of one function, which has the name.
    latency = service.metrics.latency.labels(getattr(answer, "func", answer).__name__)

    def answered(request: Request, body: bytes) -> Response:
        with latency.time():
            return judged(request, body)

    def judged(request: Request, body: bytes) -> Response:
        call = Call(service, request, body)
        try:
            caller = request.client.host if request.client else ""
            if request.method not in SAFE and not service.buckets.take(caller):
                raise TooManyError("too many requests from your address; wait some seconds")
            return answer(call)
        except ApprovalError as error:
            return failed(call, error)

    async def asked(request: Request) -> Response:
        return await run_in_threadpool(answered, request, await request.body())

    return asked


def failed(call: Call, error: ApprovalError) -> Response:
    """Return a failure as JSON, a page or a redirect to the sign-in, and log it."""
    problem = problem_of(error)
    service, request = call.service, call.request
    service.metrics.refused(error, problem.type)
    lines = list(error.problems) if isinstance(error, ConfigError) else str(error).splitlines()
    request.scope["told"] |= {"refused": problem.type, "why": lines[0][:300] if lines else ""}
    headers = {"Retry-After": "5"} if problem.status in (429, 503) else {}
    if call.for_programs or "application/json" in request.headers.get("accept", ""):
        document = told(service.config.url, problem, lines)
        if problem.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(document, problem.status, headers, media_type="application/problem+json")
    head, _, last = request.url.path.rpartition("/")
    way_in = f"/auth/login?next={quote(head + PAGE_OF.get(last, f'/{last}'), safe='/')}"
    if isinstance(error, NotSignedInError) and request.method in SAFE and not request.url.path.startswith("/auth/"):
        return RedirectResponse(way_in, 303)
    answer = call.page("error.html", problem.status, problem=problem, lines=lines, way_in=way_in)
    answer.headers.update(headers)
    return answer
