"""What a policy is told: the input document, its schema, and what a pipeline can't supply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from approval_resource.canonical import EMPTY, instant
from approval_resource.policy.language.default import DEFAULT
from approval_resource.policy.people import Roster, Voice

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
        "commit?": {"open": True},
        "drift_detection?": {},
        "runtime_config?": {"open": True},
        "triggered_by?": {},
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
        "space?": {"open": True},
        "worker_pool?": {"open": True},
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
"""Every path of the input document. `?` may be missing, `[]` is each item of a list, `open` may hold facts of the pipeline."""

OURS = ("reviews", "request", "requester", "claim", "pool", "attached")
"""What a pipeline can't supply: its own parts of that name are left out."""
OURS_WITHIN = {
    "run": ("id", "state", "created_at", "creator_session"),
    "stack": ("name",),
    "build": ("url", "team", "pipeline", "instance_vars", "job", "id", "name", "link", "created_by"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What never changes about a claim, and what its pipeline said of it."""

    id: str = ""
    pool: str = ""
    lock_name: str = ""
    description: str = ""
    requester: str = ""
    """Who asked for it, as Concourse knows them; empty where it doesn't say."""
    created_at: datetime
    build: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    payload_digest: str = ""
    attached: Sequence[Mapping[str, Any]] = ()
    given: Mapping[str, Any] = field(default_factory=lambda: EMPTY)

    def static_document(self, roster: Roster) -> dict[str, Any]:
        """The part of the input document that stays the same whoever reviews, and whenever: what conditions are asked on."""
        document = {name: value for name, value in self.given.items() if name not in OURS}
        document["run"] = {
            "type": "TRACKED",
            "flags": [],
            "changes": [],
            **self._given("run"),
            "id": self.id,
            "state": REVIEW_STATE,
            "created_at": nanoseconds(self.created_at),
        }
        if self.requester:
            login = roster.requester
            document["run"]["creator_session"] = _session(login, roster.groups_of(login))
        document["stack"] = {
            "labels": [],
            "administrative": False,
            "autodeploy": False,
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
        """The whole input document, at that instant."""
        given = {verdict: [_review(voice) for voice in voices if voice.approves is verdict] for verdict in (True, False)}
        return self.static_document(roster) | {
            "request": {"timestamp_ns": nanoseconds(now)},
            "reviews": {"current": {"approvals": given[True], "rejections": given[False]}, "older": []},
        }

    def _given(self, name: str) -> dict[str, Any]:
        given = self.given.get(name)
        if not isinstance(given, Mapping):
            return {}
        return {key: value for key, value in given.items() if key not in OURS_WITHIN[name]}


def not_suppliable(given: Mapping[str, Any]) -> list[str]:
    """The paths of what the pipeline gives in vain, since it is not for a pipeline to say."""
    within = [
        f"{name}.{key}"
        for name, keys in OURS_WITHIN.items()
        for key in keys
        if isinstance(inner := given.get(name), Mapping) and key in inner
    ]
    whole = [name for name in OURS_WITHIN if name in given and not isinstance(given[name], Mapping)]
    return [*(name for name in OURS if name in given), *within, *whole]


def nanoseconds(at: datetime) -> int:
    """An instant as Spacelift's documents write it: whole nanoseconds since 1970."""
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


SAMPLE = Facts(created_at=datetime(2026, 1, 1, tzinfo=UTC), requester="somebody").document(
    Roster(DEFAULT, "somebody"), [], datetime(2026, 1, 1, tzinfo=UTC)
)
"""An input document in which all that is always there is there."""
