"""Whatever is written into any field of any record stays text on every page: fields are found in the records' own types."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cache
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any, Union

import pytest

from approval_resource.model.claim import Claim, Review
from approval_resource.model.delivery import Progress
from approval_resource.model.event import Event, State
from approval_resource.model.lock import Lock
from approval_resource.model.settings import Freeze, Settings
from approval_resource.notify.run import Status
from approval_resource.policy.language.document import Input
from approval_resource.policy.unblock import Openers
from approval_resource.service.acts import Outcome
from approval_resource.service.desk import Row, Standing, View
from approval_resource.service.pages import Shown
from approval_resource.service.people import Person
from approval_resource.service.problems import Problem
from approval_resource.service.render import Pages

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
PLAIN = "plain"
RENDERER = Pages({"style.css": "/static/style.css", "live.js": "/static/live.js"})
NASTY = (
    "a<script>alert(1)</script>",
    'a" onmouseover="alert(1)" x=\'',
    "a' onfocus='alert(1)' autofocus='",
    "a</title></textarea></pre></style><svg onload=alert(1)>",
    "a--><img src=x onerror=alert(1)><!--",
    "a{{ 7 * 7 }}{% raw %}${7*7}",
    "a&lt;script&gt;&#60;b&#62;",
    "javascript:alert(1)//",
    "a\u202ecod.exe\u200b\x1b[31m\x00\u2028",
)


def filled(kind: Any, text: str) -> Any:
    """A value of that type with the text wherever a text can be, to any depth."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return filled(next(one for one in inner if one is not type(None)), text)
    if kind is str:
        return text
    if kind in (bool, int, float):
        return kind(1)
    if kind is datetime:
        return NOON
    if kind is timedelta:
        return timedelta(seconds=1)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next(iter(kind))
    if origin is tuple:
        return tuple(filled(one, text) for one in inner if one is not ...)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {filled(inner[0], text): filled(inner[1], text)}
    if is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        return kind(**{one.name: filled(hints[one.name], text) for one in fields(kind) if one.init})
    raise AssertionError(kind)


class Structure(HTMLParser):
    """Tags and attributes of a page, what browsers follow, and what people see; marks of hidden characters left out."""

    FOLLOWED = ("href", "src", "action", "formaction")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[Any] = []
        self.shown: list[str] = []
        self.typing = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.typing = tag == "textarea"
        self.shown += [str(given[name]) for name in ("aria-label", "title", "alt", "placeholder") if name in given]
        if given.get("class") == "ctl":
            return
        followed = [str(given[name]).partition("/")[0].partition("#")[0] for name in self.FOLLOWED if name in given]
        self.found.append((tag, sorted(given), followed))

    def handle_data(self, data: str) -> None:
        self.shown += [] if self.typing else [data]

    def handle_endtag(self, tag: str) -> None:
        self.typing = False
        if tag != "span":
            self.found.append(tag)


@cache
def pages(text: str, state: State) -> dict[str, str]:
    """Every page, with that text in every field of every record that it shows."""
    claim = replace(filled(Claim, text), state=state)
    review: Review = filled(Review, text)
    openers: Openers = filled(Openers, text)
    person = replace(filled(Person, text), via="session")
    view = View(
        claim=claim,
        settings=filled(Settings, text),
        now=NOON,
        etag=text,
        standing=Standing(
            can_decide=state is State.PENDING, why_not=text, may_force=True, may_withdraw=True, operates=True, own=review
        ),
        decision=None,
        broken=text,
        openers=openers,
        frozen=text,
        queue=filled(Lock, text).queue,
        rules=(text,),
        inputs=tuple(
            Input.model_validate({"name": name, "kind": kind, "description": text[:100]} | more)
            for name, kind, more in (("x", "string", {}), ("y", "choice", {"choices": [text[:60]]}))
        ),
        older=(claim,),
        passages=(filled(Event, text),),
    )
    tree = {"answer": "wait", "sentence": text, "parts": [{"answer": "wait", "sentence": text}]}
    explanation = {"reasons": [text], "notes": [text], "policies": [{"name": text, "explanation": tree}]}
    files = [
        Shown(text, 1, text, stored=True, text=text, earlier=text, change=text),
        Shown(text, 1, text, stored=True, text=text, earlier=text),
        Shown(text, 1, text, stored=False),
        Shown(text, 1, text, stored=True, fault=text),
    ]
    row = Row(claim, view.standing, text)
    event: Event = filled(Event, text)
    common: dict[str, Any] = {"person": person, "form_word": text, "now": NOON}
    shown: dict[str, Any] = {
        "view": view,
        "claim": claim,
        "files": files,
        "facts": [(text, text)],
        "explanation": explanation,
        "errors": (text,),
        "outcome": Outcome(claim, changed=True, missing=text, older=((text, True, text), (text, False, text))),
        "given": {"comment": text, "input-x": text},
        "since": NOON - timedelta(days=1),
        "token": text,
        "wanted": text,
    }
    bare = replace(claim, reviews={}, description="", decided=None, ended=None, attachments={})
    looked_at = replace(view, claim=bare, standing=Standing(can_decide=False, why_not=text), broken="", queue=(), passages=())
    nothing: dict[str, Any] = {"files": [], "facts": [], "explanation": None, "errors": (), "outcome": None, "given": {}}
    told: dict[str, dict[str, Any]] = {
        "claim.html": shown,
        "claim.html, to a viewer": shown | nothing | {"view": looked_at, "claim": bare, "since": None},
        "record.html": {"view": view, "claim": claim, "events": [event], "explanation": explanation},
        "waiting.html": {
            "mine": [row, row],
            "others": [row],
            "holding": [row],
            "decided": [claim],
            "pools": [text],
            "unwell": [Status(text, "failed", 0, NOON, Progress(channel=text, error=text))],
        },
        "waiting.html, empty": {name: [] for name in ("mine", "others", "holding", "decided", "pools", "unwell")},
        "pool.html": {
            "pool": text,
            "rows": [row],
            "queues": [filled(Lock, text)],
            "freeze": filled(Freeze, text),
            "days": [(NOON.date(), [event])],
        },
        "pool.html, empty": {"pool": text, "rows": [], "queues": [], "freeze": None, "days": []},
        "batch.html": {"views": [view], "results": None},
        "batch.html, empty": {"views": [], "results": None},
        "confirm.html": {"claim_id": text, "known": False},
        "confirm.html, of another pool": {"claim_id": text, "known": True},
        "error.html": {"problem": Problem(401, "kind", "Title"), "lines": [text], "way_in": f"/auth/login?next={text}"},
        "error.html, of the table": {"problem": Problem(503, "kind", "Title"), "lines": [text, text], "way_in": "/"},
        "signed_out.html": {},
        "slack.html": {"linked": text, "address": "", "until": NOON, "ended": False},
        "slack.html, to sign in": {"linked": "", "address": f"https://slack.example/?state={text}", "ended": False},
        "slack.html, to begin": {
            "linked": "",
            "address": "",
            "ended": False,
            "accounts": SimpleNamespace(life=timedelta(days=30)),
        },
        "slack.html, unlinked": {
            "linked": "",
            "address": "",
            "ended": True,
            "accounts": SimpleNamespace(life=timedelta(days=30)),
        },
    }
    found = {
        name: bytes(RENDERER.response(name.partition(",")[0], 200, **common, **about).body).decode()
        for name, about in told.items()
    }
    results: dict[str, Any] = {"views": [], "results": [(text, True, text)]}
    return found | {"batch.html, done": bytes(RENDERER.response("batch.html", 200, **common, **results).body).decode()}


@pytest.mark.parametrize("state", [State.PENDING, State.APPROVED, State.REJECTED], ids=lambda state: state.value)
@pytest.mark.parametrize("nasty", NASTY, ids=range(len(NASTY)))
def test_no_field_of_any_record_becomes_markup(nasty: str, state: State) -> None:
    """Each page has the same tags, attributes and kinds of addresses as with plain words, and nothing hidden in it."""
    plain, written = pages(PLAIN, state), pages(nasty, state)
    assert written.keys() == plain.keys()
    for name, page in written.items():
        seen = Structure(page)
        assert seen.found == Structure(plain[name]).found, name
        assert not [text for text in seen.shown if re.search("[\u202e\u200b\x1b\x00\u2028]", text)], name


def test_no_page_has_anything_inline() -> None:
    """No script, style or handler in a page itself, so that the policy without inline breaks nothing."""
    for name, page in pages(PLAIN, State.PENDING).items():
        for tag, attributes, _ in (one for one in Structure(page).found if isinstance(one, tuple)):
            assert tag not in ("style", "iframe", "object", "embed", "base"), name
            assert not [one for one in attributes if one.startswith("on") or one in ("style", "srcdoc", "formaction")], name
        assert re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL) == [""], name


def test_every_time_is_put_into_the_readers_zone_or_says_that_it_is_in_utc() -> None:
    """On every page that is filled, by looking for whatever has hours and minutes."""
    found = 0
    for name, page in (one for state in State for one in pages(PLAIN, state).items()):
        text = re.sub("<[^>]*>", " ", re.sub("<time.*?</time>", "", page))
        assert re.findall(r"(?<![:\d])\d\d:\d\d(?::\d\d)?(?![:\d])(?! UTC)", text) == [], name
        found += text.count(" UTC")
    assert found


def test_every_template_is_among_them() -> None:
    """A page that is added is looked at too."""
    from approval_resource.service.render import HERE

    shown = {name.partition(",")[0] for name in pages(PLAIN, State.PENDING)} | {"base.html", "parts.html"}
    assert shown == {file.name for file in (HERE / "templates").iterdir()}
