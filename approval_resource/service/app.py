"""The service put together: its parts from the config, and its routes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp

from approval_resource.errors import StoreUnavailableError
from approval_resource.model.claim import Verdict
from approval_resource.service import api, openapi, pages, replies, signin, slack_pages
from approval_resource.service.acts import Acts
from approval_resource.service.call import Call, Endpoint, Service, endpoint, failed
from approval_resource.service.callers import Callers
from approval_resource.service.config import Config, Secrets
from approval_resource.service.desk import Desk, HiddenError
from approval_resource.service.fetch import Web
from approval_resource.service.guard import MAX_BODY, Buckets, Guard
from approval_resource.service.links import PATHS, Links
from approval_resource.service.looks import Looks
from approval_resource.service.metrics import Metrics
from approval_resource.service.oidc import Client, Issuer
from approval_resource.service.people import Access
from approval_resource.service.problems import KINDS, Problem, told
from approval_resource.service.render import Pages
from approval_resource.service.sessions import Endings, Sessions
from approval_resource.service.signing import Signer
from approval_resource.service.slack import MAX_PAYLOAD, Slack
from approval_resource.service.slack_accounts import ISSUER, Accounts
from approval_resource.service.telling import Telling, Ways, channels_of, with_buttons
from approval_resource.store.dynamodb.store import DynamoStore

STATIC = Path(__file__).parent / "static"
KINDS_OF_FILES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
AT_ONCE, A_SECOND = 60, 5.0
"""Unsafe requests that one address may make at once, and each second after that."""


def service_of(config: Config, secrets: Secrets, store: DynamoStore) -> Service:
    """Return the parts of the service that the config describes."""
    web = Web()
    signer = Signer(secrets.keys)
    endings = Endings(store)
    sessions = Sessions(signer, endings, config.session.hours)
    desk = Desk(Looks(store), Access(config))
    login = config.login
    links = Links(signer, config.url, timedelta(hours=config.links.hours))
    told = channels_of(config)
    buttons = with_buttons(told) if told else {}
    ways = Ways(store, links, signer, config, buttons)
    slack = None
    if app := config.slack:
        at_slack = Issuer(ISSUER, app.discovery, web)
        client = Client(at_slack, app.client_id, secrets.slack_client, f"{config.url}/slack/callback", ("openid", "profile"))
        accounts = Accounts(app, client if app.client_id else None, signer, endings, store)
        slack = Slack(app, secrets.slack, buttons, ways, accounts)
    return Service(
        config=config,
        store=store,
        desk=desk,
        acts=Acts(desk, login.max_age),
        sessions=sessions,
        endings=endings,
        callers=Callers(config, sessions, config.origin, web),
        client=Client(
            Issuer(login.issuer, login.discovery, web),
            login.client_id,
            secrets.client_secret,
            f"{config.url}/auth/callback",
            tuple(login.scopes),
        ),
        signer=signer,
        links=links,
        pages=Pages({name: f"/static/{name}?v={_version(name)}" for name in ("style.css", "live.js")}),
        metrics=Metrics(),
        buckets=Buckets(AT_ONCE, A_SECOND),
        telling=Telling(told, store, ways),
        slack=slack,
    )


def app_of(service: Service) -> ASGIApp:
    """Return the application that answers requests to the service."""
    made = partial(endpoint, service)
    routes = [
        Route("/", made(pages.waiting)),
        Route("/claims/{id}", made(pages.claim_page)),
        Route("/claims/{id}/review", made(pages.review), methods=["POST"]),
        Route("/claims/{id}/withdraw", made(pages.withdraw), methods=["POST"]),
        Route("/claims/{id}/record", made(pages.record)),
        Route("/claims/{id}/attachments/{name:path}", made(pages.attachment)),
        Route("/pools/{pool:path}", made(pages.pool_page)),
        Route("/batch", made(pages.batch_page)),
        Route("/batch", made(pages.batch), methods=["POST"]),
        Route("/auth/login", made(signin.login)),
        Route("/auth/callback", made(signin.callback)),
        Route("/auth/logout", made(signin.logout), methods=["POST"]),
        Route("/auth/backchannel-logout", made(signin.backchannel_logout), methods=["POST"]),
        Route("/signed-out", made(signin.signed_out)),
        Route("/static/{name}", made(static)),
        Route("/problems/{type}", made(problem)),
        Route("/openapi.json", made(description)),
        Route("/readyz", made(ready)),
        Route("/healthz", health),
    ]
    if service.config.metrics == "open":
        routes.append(Route("/metrics", made(metrics)))
    routes += [
        Route("/slack/interactions", made(slack_pages.interactions), methods=["POST"], max_body_size=MAX_PAYLOAD),
        Route("/slack/link", made(slack_pages.page)),
        Route("/slack/link", made(slack_pages.begin), methods=["POST"]),
        Route("/slack/callback", made(slack_pages.callback)),
        Route("/slack/unlink", made(slack_pages.unlink), methods=["POST"]),
    ]
    for verdict, word in PATHS.items():
        routes.append(Route(f"/approval/{{id}}/{word}", made(_of(replies.confirm, verdict))))
        routes.append(Route(f"/approval/{{id}}/{word}", made(_of(replies.reply, verdict)), methods=["POST"]))
    routes += [Route(path, made(answer), methods=[method]) for method, path, answer in api.routes()]

    def astray(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        call = Call(service, request, b"")
        if status == 404:
            return failed(call, HiddenError("there is nothing at this address; see the list of what waits"))
        title = error.detail if isinstance(error, HTTPException) else "Internal Server Error"
        headers = dict(getattr(error, "headers", None) or {})
        if status == 405:
            # Each method has a route of its own, so the matched route knows one method alone.
            matching = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
            headers["Allow"] = ", ".join(sorted({method for route in matching for method in route.methods or ()}))
        if call.for_programs:
            document = told(service.config.url, Problem(status, "http", title), [title])
            return JSONResponse(document, status, headers, media_type="application/problem+json")
        return PlainTextResponse(f"{title}\n", status, headers)

    inner = Starlette(
        routes=routes, exception_handlers={HTTPException: astray}, max_body_size=MAX_BODY, lifespan=service.telling.lifespan
    )
    # Starlette would build the redirect for a slash too many or too few from the request's own scheme and
    # Host.
    inner.router.redirect_slashes = False
    return Guard(inner, service.config.origin, service.config.host)


def _of(answer: Callable[[Verdict, Call], Response], verdict: Verdict) -> Endpoint:
    return partial(answer, verdict)


async def health(request: Request) -> Response:
    """Say that the process is alive. The store isn't asked."""
    return PlainTextResponse("ok\n")


def ready(call: Call) -> Response:
    """Say whether the table can be read."""
    call.service.desk.looks.settings(next(iter(call.service.config.pools)))
    return PlainTextResponse("ok\n")


def metrics(call: Call) -> Response:
    """Return the metrics. Those of pools are from the last read if the table can't be read."""
    service = call.service
    try:
        service.metrics.heard(service.telling.statuses())
        for pool in service.config.pools:
            service.metrics.saw(pool, service.desk.looks.open_claims(pool), call.now)
    except StoreUnavailableError:
        service.metrics.store_errors.inc()
    return Response(call.service.metrics.text(), media_type="text/plain; version=0.0.4")


def description(call: Call) -> Response:
    """Describe the API."""
    return JSONResponse(openapi.document(call.service.config.url))


def problem(call: Call) -> Response:
    """Explain one kind of failure."""
    for kind in KINDS.values():
        if kind.type == call.path["type"]:
            return PlainTextResponse(f"{kind.status} {kind.title}\n")
    raise HiddenError("there is no such kind of problem")


def static(call: Call) -> Response:
    """Send a file of the pages."""
    path = STATIC / call.path["name"]
    if path.name not in {file.name for file in STATIC.iterdir()} or path.suffix not in KINDS_OF_FILES:
        raise HiddenError("there is no such file")
    headers = {"Cache-Control": "public, max-age=86400"}
    return Response(path.read_bytes(), media_type=KINDS_OF_FILES[path.suffix], headers=headers)


def _version(name: str) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
