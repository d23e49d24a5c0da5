"""The API: its paths, bodies, codes and headers, held to its own description."""

from __future__ import annotations

import json
import re
import threading
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import TypeAdapter

from approval_resource import pools
from approval_resource.model.claim import Attachment, Verdict
from approval_resource.model.event import State
from approval_resource.service import api, shapes
from approval_resource.service.signing import encoded
from approval_resource.store.dynamodb.presigned import HEADER, PREFIX, presigned_identity, presigned_token
from approval_resource.store.interface import Connection
from tests.builders import a_build, a_waiter, take, under
from tests.service.browser import Answer, Browser
from tests.service.conftest import ANA, BEN, Running, Serve, next_look
from tests.service.provider import ISSUER, Provider

CI = "https://ci.example.com"
SHAPES: dict[str, Any] = {"claims": shapes.ClaimList, "claim": shapes.Claim, "events": shapes.EventList, "whoami": shapes.Self}


class Api:
    """A program that speaks to the service with a bearer token."""

    def __init__(self, running: Running, token: str) -> None:
        self.browser: Browser = running.browser()
        self.token = token

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        kind = {"Content_Type": "application/json"} if body is not None else {}
        text = json.dumps(body) if body is not None else None
        return self.browser.send(
            method, f"/api/v1{path}", body=text, Authorization=f"Bearer {self.token}", **{**kind, **headers}
        )

    def review(self, claim_id: str, status: str = "approved", seen: str = "", **body: Any) -> Answer:
        seen = seen or self.ask("GET", f"/claims/{claim_id}").headers["etag"]
        return self.ask("POST", f"/claims/{claim_id}/reviews", {"status": status, **body}, If_Match=seen)


def machine(running: Running, provider: Provider, user: str = "ana") -> Api:
    """A program of that person's, at the login's issuer under an audience of its own."""
    return Api(running, provider.token(provider.claims(user, audience="approvals-api")))


@pytest.fixture
def open_api(serve: Serve, provider: Provider) -> Running:
    """A service that takes bearer tokens of the provider."""
    return serve(machines=[{"issuer": ISSUER, "discovery": provider.url, "audience": "approvals-api"}])


def test_a_program_lists_looks_and_decides(open_api: Running, provider: Provider) -> None:
    """In GitLab's words, under the identity of its token."""
    claim = open_api.claim(description="Release 41", terms=under(required_approvals=2))
    client = machine(open_api, provider)
    listed = client.ask("GET", "/claims?mine=true").json["claims"]
    assert [(one["id"], one["status"], one["can_decide"]) for one in listed] == [(claim.id, "blocked", True)]
    seen = client.ask("GET", f"/claims/{claim.id}")
    assert seen.json["pending_approval_count"] == 2
    assert client.ask("GET", f"/claims/{claim.id}", If_None_Match=seen.headers["etag"]).status == 304
    done = client.review(claim.id, comment="fine")
    assert done.status == 201
    assert done.json["review"] == {
        "user": {"username": ANA},
        "status": "approved",
        "created_at": done.json["review"]["created_at"],
        "comment": "fine",
        "represented_as": [],
        "inputs": {},
        "forced": False,
        "groups": [f"oidc-group:{ISSUER}#sec", f"oidc-group:{ISSUER}#team-payments"],
    }
    assert client.ask("GET", "/claims?mine=true").json["claims"] == []
    last = machine(open_api, provider, "ben").review(claim.id)
    assert last.json["claim"]["state"] == "approved"
    assert open_api.store.claim(claim.id).state is State.APPROVED  # type: ignore[union-attr]


def test_the_same_again_changes_nothing_and_says_so(open_api: Running, provider: Provider) -> None:
    """A retry whose answer was lost gets 200 with what is on record, whatever it saw before."""
    claim = open_api.claim(terms=under(required_approvals=2))
    client = machine(open_api, provider)
    seen = client.ask("GET", f"/claims/{claim.id}").headers["etag"]
    assert client.review(claim.id, seen=seen).status == 201
    again = client.review(claim.id, seen=seen)
    assert (again.status, again.json["changed"]) == (200, False)
    before = len(list(open_api.store.events("payments")))
    machine(open_api, provider, "ben").review(claim.id)
    decided = client.review(claim.id, seen=seen)
    assert (decided.status, decided.json["claim"]["state"]) == (200, "approved")
    assert len(list(open_api.store.events("payments"))) == before + 1


def test_the_tag_is_of_all_that_is_shown_and_a_verdict_binds_what_counts(open_api: Running, provider: Provider) -> None:
    """A build that joins the queue, and the right of whoever looks, make another tag; neither refuses a verdict."""
    claim = open_api.claim(terms=under(required_approvals=2))
    ana, vic = machine(open_api, provider), machine(open_api, provider, "vic")
    path = f"/claims/{claim.id}"
    first = ana.ask("GET", path).headers["etag"]
    assert ana.ask("GET", path).headers["etag"] == first
    assert vic.ask("GET", path).headers["etag"] != first
    open_api.store.requeue(claim.pool, claim.lock_name, lambda lock, now: lock.joined(a_waiter(9, since=now)))
    next_look()
    answer = ana.ask("GET", path, If_None_Match=first)
    assert answer.status == 200
    assert answer.json["queue"] == [str(a_build(9))]
    assert answer.headers["etag"].partition(".")[0] == first.partition(".")[0]
    browser = open_api.browser()
    assert f'data-etag="{answer.headers["etag"].strip(chr(34))}"' in browser.sign_in("ana", f"/claims/{claim.id}").text
    assert ana.review(claim.id, seen=first).status == 201
    assert machine(open_api, provider, "ben").review(claim.id, seen=first).status == 412


def test_a_review_says_what_it_saw(open_api: Running, provider: Provider) -> None:
    """428 without If-Match or with any; 412 where it changed; nothing is recorded."""
    claim = open_api.claim()
    client = machine(open_api, provider)
    path = f"/claims/{claim.id}/reviews"
    assert client.ask("POST", path, {"status": "approved"}).status == 428
    assert client.ask("POST", path, {"status": "approved"}, If_Match="*").status == 428
    assert client.ask("POST", path, {"status": "approved"}, If_Match='"a", "b"').status == 428
    changed = client.ask("POST", path, {"status": "approved"}, If_Match=f'"{"0" * 64}"')
    assert changed.status == 412
    assert changed.json["type"] == f"{open_api.url}/problems/changed"
    assert open_api.store.claim(claim.id) == claim


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"status": "maybe"}, 400),
        ({"status": "approved", "extra": 1}, 400),
        ({"status": "approved", "comment": "x" * 256}, 400),
        ({"status": "approved", "force": "yes"}, 400),
        ({"status": "approved", "force": True}, 422),
        ({"status": "approved", "force": True, "comment": "must"}, 403),
        ({"status": "approved", "represented_as": "nobody"}, 422),
        ({"status": "rejected", "inputs": {"a": "b"}}, 422),
        ([], 400),
        ("approved", 400),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(open_api: Running, provider: Provider, body: Any, status: int) -> None:
    """As problem+json with a stable type, all problems together, and nothing recorded."""
    claim = open_api.claim()
    client = machine(open_api, provider)
    seen = client.ask("GET", f"/claims/{claim.id}").headers["etag"]
    answer = client.ask("POST", f"/claims/{claim.id}/reviews", body, If_Match=seen)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    shapes.ProblemAnswer.model_validate(answer.json)
    assert answer.json["status"] == status
    assert open_api.store.claim(claim.id) == claim


def test_pages_of_claims_have_neither_gap_nor_double(open_api: Running, provider: Provider) -> None:
    """However many there are, by the cursor of each page."""
    made = {open_api.claim(number).id for number in range(7)}
    client = machine(open_api, provider)
    found, cursor = [], ""
    for _ in range(10):
        page = client.ask("GET", f"/claims?limit=3&cursor={cursor}").json
        found += [one["id"] for one in page["claims"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert sorted(found) == sorted(made)
    for wrong in ("limit=0", "limit=x", "limit=1000", "state=odd", "mine=1"):
        assert client.ask("GET", f"/claims?{wrong}").status == 400


def test_events_go_on_from_a_cursor(open_api: Running, provider: Provider) -> None:
    """Each event once, oldest first; the log's own digests are in them."""
    claim = open_api.claim()
    client = machine(open_api, provider)
    client.review(claim.id)
    first = client.ask("GET", "/events?pool=payments&limit=1").json
    rest = client.ask("GET", f"/events?pool=payments&after={first['next']}").json
    assert [one["kind"] for one in (*first["events"], *rest["events"])] == ["pending", "approved"]
    assert client.ask("GET", f"/events?pool=payments&after={rest['next']}").json["events"] == []
    assert client.ask("GET", "/events?pool=payments&after=yesterday").status == 400
    assert client.ask("GET", "/events?pool=unlisted").status == 404


def test_attachments_are_sent_with_their_digest(open_api: Running, provider: Provider) -> None:
    """The very bytes, and 404 for any other name."""
    from hashlib import sha256

    content = bytes(range(256))
    claim = open_api.claim(
        attachments={"a b/c.bin": Attachment(sha256(content).hexdigest(), 256, True)}, attached={"a b/c.bin": content}
    )
    client = machine(open_api, provider)
    answer = client.ask("GET", f"/claims/{claim.id}/attachments/a%20b/c.bin")
    assert answer.body == content
    assert answer.headers["repr-digest"].startswith("sha-256=:")
    assert client.ask("GET", f"/claims/{claim.id}/attachments/other").status == 404


def test_a_claim_is_withdrawn(open_api: Running, provider: Provider) -> None:
    """Once; again it stays as it is."""
    claim = open_api.claim()
    client = machine(open_api, provider)
    path = f"/claims/{claim.id}/withdrawal"
    assert client.ask("POST", path, {"reason": "old"}).json["state"] == "withdrawn"
    assert client.ask("POST", path, {"reason": "old"}).status == 200
    assert machine(open_api, provider, "ben").ask("POST", path, {}).status == 409
    assert client.ask("POST", path, {"force": True, "reason": "x"}).status == 403


def test_who_asks_is_told_who_they_are(open_api: Running, provider: Provider) -> None:
    """And what they may do, pool by pool."""
    found = machine(open_api, provider, "olga").ask("GET", "/whoami").json
    assert found["identity"] == f"oidc:{ISSUER}#olga"
    assert found["pools"] == {"payments": ["view", "operate"]}


@pytest.mark.parametrize("wrong", [{"aud": "approvals"}, {"iss": CI}, {"exp": 1}, {"sub": ""}], ids=str)
def test_a_token_for_something_else_is_refused(open_api: Running, provider: Provider, wrong: dict[str, Any]) -> None:
    """The sign-in's own tokens too; no session beside it is looked at."""
    token = provider.token(provider.claims("ana", audience="approvals-api") | wrong)
    client = Api(open_api, token)
    client.browser.sign_in("ana")
    answer = client.ask("GET", "/whoami")
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_two_browsers_and_a_program_decide_at_once(open_api: Running, provider: Provider) -> None:
    """One of them decides; each of the others is told that it came second, and nothing is doubled."""
    claim = open_api.claim()
    clients = [machine(open_api, provider, who) for who in ("ana", "ben")]
    seen = clients[0].ask("GET", f"/claims/{claim.id}").headers["etag"]
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda c=client, s=status: statuses.append(c.review(claim.id, s, seen).status))
        for client, status in zip(clients * 2, ("approved", "rejected", "approved", "rejected"), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses.count(201) == 1
    assert set(statuses) <= {200, 201, 409, 412}
    events = [event for event in open_api.store.events("payments") if event.claim_id == claim.id]
    assert len(events) == 2


def test_openapi_is_what_answers(open_api: Running, provider: Provider) -> None:
    """Every route is described, nothing else is, and answers have the shapes that it tells."""
    found = open_api.browser().send("GET", "/openapi.json").json
    described = {(method.upper(), path) for path, methods in found["paths"].items() for method in methods}
    assert described == {(method, re.sub(r":path}", "}", path)) for method, path, _ in api.routes()}
    claim = open_api.claim(terms=under(approval_rules=[{"group": "g"}], groups={"g": [ANA, BEN]}))
    client = machine(open_api, provider)
    client.review(claim.id, comment="x")
    for name, path in (
        ("claims", "/claims?state=open"),
        ("claim", f"/claims/{claim.id}"),
        ("events", "/events?pool=payments"),
        ("whoami", "/whoami"),
    ):
        answer = client.ask("GET", path)
        TypeAdapter(SHAPES[name]).validate_python(answer.json)
        operation = found["paths"][f"/api/v1{path.partition('?')[0].replace(claim.id, '{id}')}"]["get"]
        assert str(answer.status) in operation["responses"]
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(found)))
    assert references <= found["components"]["schemas"].keys()


CLAIMS = "/api/v1/claims"
ASKED_FOR: dict[tuple[str, str], tuple[set[str], set[str]]] = {
    ("get", CLAIMS): ({"pool", "state", "mine", "cursor"}, {"200", "401"}),
    ("get", f"{CLAIMS}/{{id}}"): ({"id", "If-None-Match"}, {"200", "304", "404"}),
    ("get", f"{CLAIMS}/{{id}}/attachments/{{name}}"): ({"id", "name"}, {"200", "404"}),
    ("get", f"{CLAIMS}/{{id}}/reviews"): ({"id"}, {"200"}),
    ("post", f"{CLAIMS}/{{id}}/reviews"): (
        {"id", "If-Match"},
        {"200", "201", "400", "403", "404", "409", "412", "422", "428", "429", "503"},
    ),
    ("post", f"{CLAIMS}/{{id}}/withdrawal"): ({"id"}, {"200", "403", "409"}),
    ("get", "/api/v1/events"): ({"pool", "after"}, {"200"}),
    ("get", "/api/v1/whoami"): (set(), {"200", "401"}),
}
"""The API by its method and path: parameters, and codes that clients can rely on to be described."""
FIELDS = {
    "ReviewBody": {"status", "comment", "represented_as", "inputs", "force"},
    "WithdrawalBody": {"reason"},
    "ClaimSummary": {"can_decide", "deadline", "summary"},
    "Claim": {"status", "pending_approval_count", "approvals", "approval_summary", "can_decide", "why_not", "decision"},
    "Recorded": {"review", "claim"},
    "Approval": {"user", "status", "created_at", "comment"},
    "User": {"username"},
    "Self": {"identity", "groups", "auth_time"},
    "ProblemAnswer": {"type", "title", "status", "detail"},
}
BESIDE = {
    "/approval/x/approve": "GET, HEAD, POST",
    "/approval/x/deny": "GET, HEAD, POST",
    "/slack/interactions": "POST",
    "/auth/login": "GET, HEAD",
    "/auth/callback": "GET, HEAD",
    "/auth/logout": "POST",
    "/auth/backchannel-logout": "POST",
    "/openapi.json": "GET, HEAD",
    "/healthz": "GET, HEAD",
    "/readyz": "GET, HEAD",
    "/metrics": "GET, HEAD",
}


def test_what_programs_were_promised_is_described(running: Running) -> None:
    """Paths, parameters, codes and fields, by a list of their own: a route that goes takes its description with it.

    No envelopes of reviews and no keys are among them while reviews aren't signed, and events come by the page.
    """
    found = running.browser().send("GET", "/openapi.json").json
    for (method, path), (parameters, codes) in ASKED_FOR.items():
        operation = found["paths"][path][method]
        assert parameters <= {one["name"] for one in operation.get("parameters", [])}, path
        assert codes <= operation["responses"].keys(), path
    schemas = found["components"]["schemas"]
    assert {name: fields - schemas[name]["properties"].keys() for name, fields in FIELDS.items()} == {
        name: set() for name in FIELDS
    }


@pytest.mark.parametrize(("path", "methods"), BESIDE.items())
def test_what_stands_beside_the_api_takes_these_methods(running: Running, path: str, methods: str) -> None:
    """Links, buttons, sign-in and what a monitor asks, each by its own methods alone."""
    answer = running.browser().send("PUT", path, Authorization="Bearer x")
    assert (answer.status, answer.headers["allow"]) == (405, methods)


def test_gitlabs_clients_find_their_fields(open_api: Running, provider: Provider) -> None:
    """As a deployment has them: blocked, so many missing, who approved, and each rule with its approvals."""
    claim = open_api.claim(
        terms=under(approval_rules=[{"user": ANA}, {"group": "g", "required_approvals": 2}], groups={"g": [BEN, ANA]})
    )
    client = machine(open_api, provider)
    # An Idempotency-Key is taken and needed by nobody, since the same again changes nothing.
    tag = client.ask("GET", f"/claims/{claim.id}").headers["etag"]
    sent = {"status": "approved", "comment": "Looks good to me", "represented_as": "g"}
    done = client.ask("POST", f"/claims/{claim.id}/reviews", sent, If_Match=tag, Idempotency_Key="8e03978e")
    assert done.status == 201
    told = client.ask("GET", f"/claims/{claim.id}").json
    assert (told["status"], told["pending_approval_count"]) == ("blocked", 2)
    (approval,) = told["approvals"]
    assert (approval["user"]["username"], approval["status"], approval["comment"]) == (ANA, "approved", "Looks good to me")
    rules = told["approval_summary"]["rules"]
    assert [(rule["required_approvals"], len(rule["deployment_approvals"])) for rule in rules] == [(1, 0), (2, 1)]
    (counted,) = rules[1]["deployment_approvals"]
    assert {"user", "status", "created_at", "comment"} <= counted.keys()
    assert counted["user"]["username"] == ANA


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v1/claims/x/y"])
def test_what_is_not_there_is_a_problem_too(running: Running, path: str) -> None:
    """404 and 405 are problem+json below /api."""
    answer = running.browser().send("GET", path)
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"
    wrong = running.browser().send("PUT", "/api/v1/claims", Authorization="Bearer x")
    assert wrong.status == 405
    assert wrong.headers["content-type"] == "application/problem+json"


def sts(running: Running, connection: Connection, service: str = "") -> str:
    """A token by which AWS tells who its caller is."""
    return presigned_token(connection, service or running.url)


def test_aws_tells_who_signed_a_request(serve: Serve, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A presigned GetCallerIdentity, bound to this service, is sent on to STS alone, and its ARN is the identity."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", connection.endpoint_url)
    aws = {"region": "us-east-1", "sts": connection.endpoint_url, "accounts": ["000000000000"]}
    running = serve(aws=aws, pools={"payments": {"reviewers": ["everyone"]}})
    claim = take(running.store, 1)
    client = Api(running, sts(running, connection))
    who = client.ask("GET", "/whoami").json
    assert who["identity"].startswith("aws:arn:aws:")
    assert client.review(claim.id).status == 201
    assert who["identity"] in running.store.claim(claim.id).reviews  # type: ignore[union-attr]
    unbound = presigned_identity(connection, {"x-other": "1"})
    address = presigned_identity(connection, {HEADER: running.url})
    elsewhere = address.replace("GetCallerIdentity", "AssumeRole")
    longer = re.sub("X-Amz-Expires=60", "X-Amz-Expires=90000", address)
    more = f"{address}&RoleArn=x"
    for wrong in (unbound, elsewhere, longer, more, "https://evil.example/", "é"):
        refused = Api(running, PREFIX + encoded(wrong.encode())).ask("GET", "/whoami")
        assert refused.status == 401, wrong
    other = serve(aws=aws | {"accounts": ["999999999999"]})
    assert Api(other, sts(other, connection)).ask("GET", "/whoami").status == 401


def test_the_host_in_a_presigned_request_is_of_no_account(serve: Serve, connection: Connection, provider: Provider) -> None:
    """Only the configured STS is ever asked."""
    aws = {"region": "us-east-1", "sts": connection.endpoint_url, "accounts": ["000000000000"]}
    running = serve(aws=aws)
    address = presigned_identity(connection, {HEADER: running.url})
    query = address.partition("?")[2]
    before = list(provider.asked)
    moved = Api(running, PREFIX + encoded(f"{provider.url}/sts?{query}".encode()))
    assert moved.ask("GET", "/whoami").status == 200
    assert provider.asked == before
    assert Verdict.APPROVE


@pytest.mark.parametrize("limit", ["0", "201", "00000000199999999", "0000000001" + "9" * 4400, "-1", "1e2", "\u0661", ""])
@pytest.mark.parametrize("path", ["claims?pool=payments", "events?pool=payments"])
def test_no_spelling_of_a_limit_is_past_its_bound(running: Running, path: str, limit: str) -> None:
    """Nor ends in a fault of the service."""
    browser = running.browser()
    browser.sign_in("ana")
    assert browser.send("GET", f"/api/v1/{path}&limit={quote(limit)}").status == 400


def test_a_program_lets_an_approved_claim_pass_a_freeze(open_api: Running, provider: Provider) -> None:
    """As on the page: its answer tells of no review, since none was recorded."""
    team = f"oidc-group:{ISSUER}#team-payments"
    own = under({"required_approvals": 1, "groups": {"team": [team]}, "bypass": {"groups": ["team"]}})
    pools.set_policy(open_api.store, "payments", own.policy, actor="aws:op")
    claim = open_api.claim(terms=under(required_approvals=1))
    assert machine(open_api, provider).review(claim.id).status == 201
    pools.freeze(open_api.store, "payments", timedelta(hours=1), "fire", actor="aws:op")
    next_look()
    ben = machine(open_api, provider, "ben")
    done = ben.review(claim.id, force=True, comment="on fire")
    assert done.status == 201, done.text
    freeze = open_api.store.settings("payments").freeze
    assert freeze is not None
    assert freeze.passes == (claim.id,)
    assert done.json["review"] is None
