"""Input document of policies: its schema, and the parts of it that a pipeline can't supply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from approval_resource.canonical import EMPTY, instant
from approval_resource.policy.language.default import DEFAULT
from approval_resource.policy.people import Memberships, Roster, Voice

if TYPE_CHECKING:
    from approval_resource.policy.language.document import Policy

MICROSECOND = timedelta(microseconds=1)
REVIEW_STATE = "UNCONFIRMED"

_SESSION: dict[str, Any] = {"login": {}, "name": {}, "teams": {"[]": {}}, "admin": {}, "machine": {}, "creator_ip?": {}}
_REVIEW: dict[str, Any] = {
    "author": {},
    "request": {"timestamp_ns": {}, "remote_ip?": {}},
    "session": _SESSION,
    "state": {},
    "comment": {},
    "inputs": {"open": True},
}
SCHEMA: dict[str, Any] = {
    "open": True,
    "reviews": {
        "current": {"approvals": {"[]": _REVIEW}, "rejections": {"[]": _REVIEW}},
        "older": {"[]": _REVIEW},
    },
    "request": {"timestamp_ns": {}},
    "run": {
        "open": True,
        "id": {},
        "state": {},
        "type": {},
        "created_at": {},
        "creator_session?": _SESSION,
        "flags": {"[]": {}},
        "changes": {
            "[]": {
                "open": True,
                "action": {},
                "entity": {
                    "open": True,
                    "address": {},
                    "name": {},
                    "type": {},
                    "entity_vendor": {},
                    "entity_type": {},
                    "data": {"open": True},
                },
                "phase": {},
            }
        },
        "branch?": {},
        "command?": {},
        "commit?": {
            "open": True,
            "author?": {},
            "branch?": {},
            "created_at?": {},
            "hash?": {},
            "message?": {},
            "exist_on_tracked_branch?": {},
        },
        "drift_detection?": {},
        "runtime_config?": {
            "open": True,
            "before_init?": {"[]": {}},
            "project_root?": {},
            "runner_image?": {},
            "terraform_version?": {},
        },
        "triggered_by?": {},
        "updated_at?": {},
        "user_provided_metadata?": {"[]": {}},
        "based_on_local_workspace?": {},
    },
    "stack": {
        "open": True,
        "name": {},
        "labels": {"[]": {}},
        "administrative": {},
        "autodeploy": {},
        "branch?": {},
        "repository?": {},
        "namespace?": {},
        "project_root?": {},
        "state?": {},
        "terraform_version?": {},
        "locked_by?": {},
        "space?": {"open": True},
        "worker_pool?": {"open": True, "id?": {}, "labels?": {"[]": {}}, "name?": {}, "public?": {}},
    },
    "claim": {
        "id": {},
        "lock_name": {},
        "description": {},
        "created_at": {},
        "requester?": {},
        "payload_digest": {},
    },
    "build": {
        "open": True,
        "url": {},
        "team": {},
        "pipeline": {},
        "instance_vars": {},
        "job": {},
        "id": {},
        "name": {},
        "link": {},
        "created_by?": {},
    },
    "pool": {"name": {}},
    "attached": {"[]": {"name": {}, "size": {}, "digest": {}}},
}
"""Every path of the input document. `?`: the field may be missing. `[]`: each item of a list. `open`: a
pipeline may add facts here."""

OURS = ("reviews", "request", "requester", "claim", "pool", "attached")
"""Reserved parts: a pipeline's facts of these names are ignored."""
OURS_WITHIN = {
    "run": ("id", "state", "created_at", "creator_session", "triggered_by"),
    "stack": ("name", "locked_by"),
    "build": ("url", "team", "pipeline", "instance_vars", "job", "id", "name", "link", "created_by"),
    "run.commit": ("author",),
}
"""Reserved fields within parts that a pipeline may give."""
IDENTITY_PATHS = (
    "run.creator_session",
    "run.creator_session.creator_ip",
    "run.triggered_by",
    "run.commit.author",
    "stack.locked_by",
    "claim.requester",
    "build.created_by",
    "requester",
    *(
        f"reviews.current.{verdict}.[].{field}"
        for verdict in ("approvals", "rejections")
        for field in ("request.remote_ip", "session.creator_ip")
    ),
)
"""Fields that identify persons. Only Concourse fills them. A policy that reads a missing one fails closed: it
approves nothing."""
DEFAULTS: dict[str, dict[str, Any]] = {
    "run": {"type": "TRACKED", "flags": [], "changes": []},
    "stack": {"labels": [], "administrative": False, "autodeploy": False},
}
"""Defaults for facts that nobody gave."""
KNOWN: dict[str, Any] = {"merged": ["", "run", "stack", "build"], "ours": OURS, "people": IDENTITY_PATHS, "defaults": []}
"""Sources of the document's parts. `merged`: pipeline and claim together. `ours`: the claim alone. `people`:
Concourse or nobody. `defaults`: paths of defaults that are in use, set for each evaluation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Facts of a claim that never change: its own, and those that its pipeline gives."""

    id: str = ""
    pool: str = ""
    lock_name: str = ""
    description: str = ""
    requester: str = ""
    """Requester, by the name that Concourse gives; empty where it gives none."""
    created_at: datetime
    build: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    payload_digest: str = ""
    attached: Sequence[Mapping[str, Any]] = ()
    given: Mapping[str, Any] = field(default_factory=lambda: EMPTY)

    def roster(self, policy: Policy, memberships: Memberships = EMPTY) -> Roster:
        """Return the policy's people, with the requester and the Concourse of this claim."""
        return Roster(policy, self.requester, memberships, self.build.get("url", ""))

    def static_document(self, roster: Roster) -> dict[str, Any]:
        """Return the part of the input document that depends on neither reviews nor time.

        Conditions are evaluated on this part alone.
        """
        document = {name: value for name, value in self.given.items() if name not in OURS}
        document["run"] = {
            **DEFAULTS["run"],
            **self._given("run"),
            "id": self.id,
            "state": REVIEW_STATE,
            "created_at": nanoseconds(self.created_at),
        }
        if self.requester:
            login = roster.requester
            document["run"]["creator_session"] = _session(login, roster.groups_of(login))
            document["run"]["triggered_by"] = login
        document["stack"] = {
            **DEFAULTS["stack"],
            **self._given("stack"),
            "name": self.pool,
        }
        document["claim"] = {
            "id": self.id,
            "lock_name": self.lock_name,
            "description": self.description,
            "created_at": instant(self.created_at),
            "payload_digest": self.payload_digest,
            **({"requester": self.requester} if self.requester else {}),
        }
        document["build"] = {
            **self._given("build"),
            **{name: value for name, value in self.build.items() if name != "created_by"},
            **({"created_by": self.requester} if self.requester else {}),
        }
        document["pool"] = {"name": self.pool}
        document["attached"] = [dict(file) for file in self.attached]
        return document

    def document(self, roster: Roster, voices: Sequence[Voice], now: datetime) -> dict[str, Any]:
        """Return the whole input document, at that instant."""
        given = {verdict: [_review(voice) for voice in voices if voice.approves is verdict] for verdict in (True, False)}
        return self.static_document(roster) | {
            "request": {"timestamp_ns": nanoseconds(now)},
            "reviews": {"current": {"approvals": given[True], "rejections": given[False]}, "older": []},
        }

    @property
    def defaults(self) -> list[str]:
        """Paths at which a default stands for a fact that nobody gave."""
        return [f"{name}.{key}" for name, values in DEFAULTS.items() for key in values if key not in self._given(name)]

    def _given(self, name: str) -> dict[str, Any]:
        return _permitted(self.given.get(name), name)


def _permitted(given: object, name: str) -> dict[str, Any]:
    """Return the pipeline's facts at that place, without reserved fields there or below."""
    if not isinstance(given, Mapping):
        return {}
    kept = {key: value for key, value in given.items() if key not in OURS_WITHIN.get(name, ())}
    below = {key: f"{name}.{key}" for key in kept if f"{name}.{key}" in OURS_WITHIN}
    return kept | {key: _permitted(kept[key], place) for key, place in below.items() if isinstance(kept[key], Mapping)}


def not_suppliable(given: Mapping[str, Any]) -> list[str]:
    """Return the reserved paths among a pipeline's facts. They are ignored."""
    found = [name for name in OURS if name in given]
    for place, keys in OURS_WITHIN.items():
        inner: object = given
        for step in place.split("."):
            inner = inner.get(step, {}) if isinstance(inner, Mapping) else {}
        if isinstance(inner, Mapping):
            found += [f"{place}.{key}" for key in keys if key in inner]
        elif "." not in place:
            found.append(place)
    return found


def nanoseconds(at: datetime) -> int:
    """Return an instant in the form of Spacelift's documents: whole nanoseconds since 1970."""
    return (at - datetime.fromtimestamp(0, at.tzinfo)) // MICROSECOND * 1000


def _review(voice: Voice) -> dict[str, Any]:
    return {
        "author": voice.login,
        "request": {"timestamp_ns": nanoseconds(voice.at)},
        "session": _session(voice.login, voice.groups),
        "state": REVIEW_STATE,
        "comment": voice.comment,
        "inputs": dict(voice.inputs),
    }


def _session(login: str, groups: frozenset[str]) -> dict[str, Any]:
    return {"login": login, "name": login, "teams": sorted(groups), "admin": False, "machine": False}


_SAMPLE = Facts(created_at=datetime(2026, 1, 1, tzinfo=UTC), requester="somebody")
SAMPLE = _SAMPLE.document(Roster(DEFAULT, "somebody"), [], datetime(2026, 1, 1, tzinfo=UTC))
"""Sample input document. It has every field that is always present."""
SAMPLE_DEFAULTS = _SAMPLE.defaults
