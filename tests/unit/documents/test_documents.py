"""Every noun survives being stored, and a stored document that is not exactly of its form is refused.

Fields are found by the nouns' types: one that is added is tested without a line here.
"""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from approval_resource.documents.claims import CLAIM, claim_digest, made_under, terms_digest
from approval_resource.documents.events import event_digest
from approval_resource.documents.settings import policy_digest, settings_digest
from approval_resource.errors import CorruptRecordError
from approval_resource.model.event import Event, Kind, State
from approval_resource.model.settings import Settings
from tests.builders import NOON, a_claim, an_event
from tests.unit.documents.making import STORED_NOUNS, Path, at, filled, nouns, paths

OTHERS: tuple[Any, ...] = (None, True, False, 0, 1, -1, 1.5, "", "x", [], ["x"], {}, {"x": 1})
"""Values of every type that a stored document can hold."""
COMPUTED = {"approved", "claimed", "retention_days"}
"""What a document repeats of its other fields: compared, never used."""
NULL = {("claim", ("ended",))}
"""What may be null by itself; so may `decided`, but `approved` tells of that too."""
FIRST_VERSION = {
    "claim": "approved claimed description lockname need_approval pipeline pool team timestamp id state changed build build_key "
    "request payload attachments fence deadline hold_timeout hold_until reviews decided ended spent spent_by spent_job revision",
    "event": "pool timestamp revision kind id lock_name lock_event_number state actor build reason verdict forced at operation "
    "claim previous previous_timestamp digest",
    "head": "pool revision timestamp digest newest",
    "lock": "pool lockname holder fence events jobs newest queue tickets revision",
    "build": "key pool lockname made passed revision",
    "turn": "pool lockname revision events held frees_at order pace waiting call present",
    "settings": "pool retention_days retentions revision",
    "progress": "channel holder until cursors failing_since tries retry_at error skipped told_at digest revision",
    "delivery": "channel id pool ref told reminded at revision",
}
"""The entries of each document, in order."""
STORED = {name: codec.write(filled(noun)) for name, (noun, codec) in STORED_NOUNS.items()}
BARE = {name: codec.write(filled(noun, bare=True)) for name, (noun, codec) in STORED_NOUNS.items()}
EVERYWHERE = [
    pytest.param(name, path, id=".".join(map(str, (name, *path)))) for name in STORED_NOUNS for path in paths(STORED[name])
]
MAPS = [
    pytest.param(name, path, id=".".join(map(str, (name, *path))))
    for name in STORED_NOUNS
    for path in [(), *paths(STORED[name])]
    if isinstance(at(STORED[name], path), dict)
]


def changed(name: str, path: Path, value: Any) -> dict[str, Any]:
    """The stored document with another value at that path."""
    document = deepcopy(STORED[name])
    at(document, path[:-1])[path[-1]] = value
    return document


def refused(name: str, document: dict[str, Any]) -> bool:
    """Whether the document can't be read back."""
    try:
        STORED_NOUNS[name][1].read(document)
    except CorruptRecordError as corrupt:
        return bool(corrupt.why)
    return False


def same_type(one: Any, other: Any) -> bool:
    """Whether both would be stored as the same type."""
    return type(one) is type(other)


@pytest.mark.parametrize("name", STORED_NOUNS)
@pytest.mark.parametrize("bare", [False, True])
def test_a_noun_survives_being_stored(name: str, bare: bool) -> None:
    """All its fields come back, those that say something and those that don't; so do they through JSON."""
    kind, codec = STORED_NOUNS[name]
    noun = filled(kind, bare=bare)
    document = codec.write(noun)
    assert codec.read(document) == noun
    assert codec.read(json.loads(json.dumps(document))) == noun


@pytest.mark.parametrize("name", STORED_NOUNS)
@given(data=st.data())
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_noun_survives_being_stored(name: str, data: st.DataObject) -> None:
    """Whatever its fields hold."""
    kind, codec = STORED_NOUNS[name]
    noun = data.draw(nouns(kind))
    assert codec.read(json.loads(json.dumps(codec.write(noun)))) == noun


@pytest.mark.parametrize(("name", "path"), EVERYWHERE)
def test_a_field_of_another_type_is_refused(name: str, path: Path) -> None:
    """Nothing that is stored is ever taken for something else: no number for a text, no text for an instant, no list for a map."""
    kept = at(STORED[name], path)
    wrong = [other for other in OTHERS if not same_type(other, kept) and not (path[-1] in COMPUTED and other == kept)]
    taken = [other for other in wrong if not refused(name, changed(name, path, other))]
    assert taken == ([None] if (name, path) in NULL else [])


@pytest.mark.parametrize(("name", "path"), EVERYWHERE)
def test_a_missing_field_is_refused(name: str, path: Path) -> None:
    """Only one that a noun without it is stored without may be missing, and that stands for its absence."""
    document = deepcopy(STORED[name])
    inside = at(document, path[:-1])
    del inside[path[-1]]
    if refused(name, document):
        return
    by_name = isinstance(path[-1], int) or path[-2:-1] in {(key,) for key in ("attachments", "reviews", "newest", "inputs")}
    if not by_name:
        with pytest.raises(LookupError):
            at(BARE[name], path)
    noun, codec = STORED_NOUNS[name]
    assert codec.read(document) != filled(noun)


@pytest.mark.parametrize(("name", "path"), MAPS)
def test_a_field_that_nobody_knows_is_refused(name: str, path: Path) -> None:
    """What a newer version would understand is not passed over by an older one."""
    assert refused(name, changed(name, (*path, "unknown"), 1))


@pytest.mark.parametrize(
    ("name", "field"),
    [("claim", "approved"), ("claim", "claimed"), ("claim", "pipeline"), ("claim", "team"), ("settings", "retention_days")],
)
def test_what_is_told_twice_must_agree(name: str, field: str) -> None:
    """A document that contradicts itself is refused, whichever side was altered."""
    kept = STORED[name][field]
    other = {bool: not kept, str: "other", int: 8}[type(kept)]
    assert refused(name, changed(name, (field,), other))


@pytest.mark.parametrize("text", ["2026-11-21", "2026-11-21T12:00:00Z", "2026-11-21T12:00:00.000000+00:00", "9" * 30, "0"])
@pytest.mark.parametrize(("name", "field"), [("claim", "timestamp"), ("event", "at"), ("head", "timestamp")])
def test_an_instant_in_another_form_is_refused(name: str, field: str, text: str) -> None:
    """One instant has one text, since keys and digests are made of it."""
    assert refused(name, changed(name, (field,), text))


@pytest.mark.parametrize(("name", "field"), [("claim", "state"), ("event", "kind"), ("event", "state")])
def test_an_unknown_word_is_refused(name: str, field: str) -> None:
    """A state that this version doesn't know opens nothing."""
    assert refused(name, changed(name, (field,), "nearly approved"))


def test_the_refusal_names_what_is_broken() -> None:
    """An operator learns which record it is and which of its fields."""
    with pytest.raises(CorruptRecordError, match=r"claim a id.*its fence is no whole number") as corrupt:
        CLAIM.read(changed("claim", ("fence",), "7"))
    assert (corrupt.value.what, corrupt.value.why) == ("claim a id", "its fence is no whole number")


def test_a_bare_noun_is_stored_as_the_first_version_stored_it() -> None:
    """Those entries and no others: one that came later is left out where it says nothing, so that old digests hold."""
    assert {name: " ".join(document) for name, document in BARE.items()} == FIRST_VERSION


@pytest.mark.parametrize("field", [field.name for field in fields(Event) if field.name != "digest"])
def test_an_event_s_digest_covers_its_fields(field: str) -> None:
    """Altering any of them alters the digest."""
    event = filled(Event)
    other = {str: "other", int: 8, bool: False, datetime: NOON.replace(year=2027), Kind: Kind.SETTINGS, State: State.RELEASED}
    assert event_digest(replace(event, **{field: other[type(getattr(event, field))]})) != event_digest(event)


def test_an_event_s_digest_does_not_cover_itself() -> None:
    """Anybody can compute it again from the rest."""
    assert event_digest(an_event(digest="x")) == event_digest(an_event(digest="y")) == an_event().digest


def test_a_claim_s_digest_covers_all_of_it() -> None:
    """An event pins the claim as it left it, to the last field."""
    assert claim_digest(a_claim()) == claim_digest(a_claim())
    assert len({claim_digest(a_claim(**change)) for change in ({}, {"fence": 1}, {"spent": "k"}, {"revision": 2})}) == 4


def test_terms_cover_what_was_asked_for_and_not_what_became_of_it() -> None:
    """A claim's first event pins the request; reviews and the end change nothing of that."""
    asked = terms_digest(a_claim())
    assert asked == terms_digest(a_claim(fence=3, revision=9, spent="k"))
    different = [{"description": "d"}, {"payload": "p"}, {"policy": "p"}, {"facts": "f"}, {"lock_name": "l"}]
    assert asked not in {terms_digest(a_claim(**change)) for change in different}
    assert terms_digest(a_claim(need_approval=False)) == ""


def test_a_claim_is_held_against_its_own_first_event() -> None:
    """Its terms must be those of the event; older events told none, and then the claim may have none."""
    claim = a_claim(policy="p")
    assert made_under(claim, an_event(terms=terms_digest(claim)))
    assert not made_under(claim, an_event(terms=terms_digest(a_claim())))
    assert not made_under(claim, an_event())
    assert made_under(a_claim(), an_event())
    assert not made_under(claim, an_event(terms=terms_digest(claim), claim_id="another"))


def test_no_policy_has_no_digest() -> None:
    """An empty text stands for none, and every other text for itself."""
    assert policy_digest("") == ""
    assert policy_digest("[]") != policy_digest("[ ]")
    assert settings_digest(filled(Settings)) != settings_digest(filled(Settings, bare=True))
