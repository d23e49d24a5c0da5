"""Group 8: pages of the reviewers' service, beside a bare page that does one GetItem."""

from __future__ import annotations

import random
import sys
import threading
import time
from hashlib import sha256
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

from approval_resource.model.claim import Attachment, Claim
from approval_resource.steps.protocol import Version
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from demo.engine import free_port
from tests.bench import running, served
from tests.bench.meter import metered
from tests.bench.results import Budget, Group, ms
from tests.builders import a_build, take, under
from tests.service.browser import Browser

POOL = "bench"
PEOPLE = 50
LOOKS, ROUNDS = 5, 5
"""Looks of each person in a round, one a second; in each round both servers take their turn."""
OPEN_PAGES = 1_000
GATES = 9
PAGE_BOUND, MEMORY_BOUND, READY_BOUND, CLICK_BOUND = 2.5, 110.0, 2.5, 0.7
PLAN = b"# plan\n+ add one\n- drop two\n~ change three\n"


def a_claim(store: DynamoStore, number: int) -> Claim:
    """A claim that takes three people, with a plan."""
    files = {"plan.txt": Attachment(sha256(PLAN).hexdigest(), len(PLAN), True)}
    terms = under(required_approvals=3)
    build = a_build(f"pages-{number}")
    return take(
        store, build, pool=POOL, lock_name=f"page-{number}", terms=terms, attachments=files, attached={"plan.txt": PLAN}
    )


def looked(browsers: list[Browser], path: str) -> list[float]:
    """Return the seconds of each answer where all look once a second, each at a moment of its own."""
    found: list[float] = []
    rng = random.Random(8)
    offsets = [rng.random() for _ in browsers]

    def looks(browser: Browser, offset: float) -> None:
        began = time.monotonic() + offset
        for number in range(LOOKS):
            time.sleep(max(0.0, began + number - time.monotonic()))
            asked = time.monotonic()
            if browser.send("GET", path).status != 200:
                raise RuntimeError(f"{path} is refused")
            found.append(time.monotonic() - asked)

    threads = [threading.Thread(target=looks, args=pair) for pair in zip(browsers, offsets, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(found) != len(browsers) * LOOKS:
        raise RuntimeError("not everybody was answered")
    return found


def polled(browsers: list[Browser], path: str, seconds: float) -> int:
    """Let pages poll in turns for that time, each with the tag of what it shows; return how often they did."""
    tags: dict[Browser, str] = {}
    until, count = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        browser = browsers[count % len(browsers)]
        answer = browser.send("GET", path, If_None_Match=tags.get(browser, ""))
        tags[browser] = answer.headers["etag"]
        count += 1
    return count


def clicked(connection: Connection, store: DynamoStore, url: str, number: int) -> float:
    """Return the seconds from the answer to a click to the exit of the gate that it opens."""
    claim = take(store, a_build(f"gate-{number}"), pool=POOL, lock_name=f"gate-{number}")
    request = {"source": running.source(connection.endpoint_url, connection.table, POOL), "params": {"need_approval": True}}
    request["version"] = Version.of(claim).render()
    given = running.environment(connection.endpoint_url, connection.table)
    browser = served.person(url, store, "ana")
    with TemporaryDirectory() as directory, running.waiting(running.script("in", directory), request, given) as gate:
        page = browser.go(f"/claims/{claim.id}")
        form = page.form("/review")
        body = urlencode({**form.fields, "verdict": "approve"})
        kind = "application/x-www-form-urlencoded"
        sent = browser.send("POST", form.action, body=body, Content_Type=kind, Origin="null", Sec_Fetch_Site="same-origin")
        answered = time.monotonic()
        if sent.status != 303 or gate.wait(30) != 0:
            raise RuntimeError(f"the gate did not open: {sent.status}")
        return time.monotonic() - answered


def _p95(seconds: list[float]) -> float:
    return quantiles(seconds, n=20)[-1]


def measure(connection: Connection, store: DynamoStore) -> Group:
    """All of it."""
    claims = [a_claim(store, number) for number in range(3)]
    group = Group("8. The reviewers' service", heads=["50 people, one look a second each", "ms", "p95, ms"])
    with TemporaryDirectory() as directory, metered(connection.endpoint_url) as meter:
        counted = Connection(
            table=connection.table,
            region=connection.region,
            endpoint_url=meter.url,
            access_key_id=connection.access_key_id,
            secret_access_key=connection.secret_access_key,
        )
        port = free_port()
        path = f"/claims/{claims[0].id}"
        bare = [sys.executable, str(running.PROGRAMS / "bare_page.py"), str(port)]
        given = running.environment(connection.endpoint_url, connection.table)
        with (
            served.server(bare, given, f"http://127.0.0.1:{port}", "/") as other,
            served.service(connection, [POOL], Path(directory)) as pages,
        ):
            strangers = [Browser(other.url) for _ in range(PEOPLE)]
            people = [served.person(pages.url, store, f"person-{number}") for number in range(PEOPLE)]
            rounds = [(looked(strangers, "/"), looked(people, path)) for _ in range(ROUNDS)]
            ready, resident = pages.seconds, pages.resident
            gates = [clicked(connection, store, pages.url, number) for number in range(GATES)]
        with served.service(counted, [POOL], Path(directory)) as pages:
            people = [served.person(pages.url, store, f"page-{number}") for number in range(OPEN_PAGES)]
            polled(people[:1], f"/api/v1{path}", 2.0)
            costs = []
            for watchers in (people[:1], people):
                meter.reset()
                polls = polled(watchers, f"/api/v1{path}", 10.0)
                costs.append((polls, meter.requests.total()))
    late = [tuple(_p95(times) for times in turn) for turn in rounds]
    for which, name in enumerate(("a bare page with one GetItem", "a claim's page")):
        times = [one for turn in rounds for one in turn[which]]
        group.rows.append([name, ms(times), f"{median(of[which] for of in late) * 1000:.0f}"])
    (one, once), (many, often) = costs
    group.notes = [
        f"In ten seconds, {one} polls of one open page cost the table {once} requests, and {many} polls of {OPEN_PAGES} people's "
        f"pages {often}.",
        f"From the answer to a click to the gate's exit: {ms(gates)} ms.",
    ]
    group.budgets = [
        Budget("a claim's page at p95, of a bare one", median(page / bare for bare, page in late), PAGE_BOUND),
        Budget(f"requests to the table of {OPEN_PAGES} open pages, of one page's", often / once, 1.2),
        Budget("memory after that", resident, MEMORY_BOUND, "MB"),
        Budget("start to ready", ready, READY_BOUND, "s"),
        Budget("a click's answer to the gate's exit", median(gates), CLICK_BOUND, "s"),
    ]
    return group
