"""Description of the API for programs, made from the same models and routes that answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from approval_resource.model.event import State
from approval_resource.service import api, shapes
from approval_resource.service.problems import KINDS

MODELS: tuple[type[BaseModel], ...] = (
    shapes.ReviewBody,
    shapes.WithdrawalBody,
    shapes.ClaimList,
    shapes.Claim,
    shapes.Recorded,
    shapes.Reviews,
    shapes.EventList,
    shapes.Self,
    shapes.DeviceLogin,
    shapes.ProblemAnswer,
)
ANSWERS: Mapping[str, tuple[type[BaseModel] | None, tuple[int, ...]]] = {
    "claims": (shapes.ClaimList, (200,)),
    "claim": (shapes.Claim, (200,)),
    "attachment": (None, (200,)),
    "reviews": (shapes.Reviews, (200,)),
    "review": (shapes.Recorded, (200, 201)),
    "withdrawal": (shapes.Claim, (200,)),
    "events": (shapes.EventList, (200,)),
    "whoami": (shapes.Self, (200,)),
    "login": (shapes.DeviceLogin, (200,)),
}
BODIES: Mapping[str, type[BaseModel]] = {"review": shapes.ReviewBody, "withdrawal": shapes.WithdrawalBody}
QUERIES: Mapping[str, dict[str, dict[str, Any]]] = {
    "claims": {
        "pool": {"type": "string"},
        "state": {"type": "string", "enum": ["open", *State], "default": "pending"},
        "mine": {"type": "boolean", "default": False},
        "cursor": {"type": "string"},
        "limit": {"type": "integer", "minimum": 1, "maximum": api.MAX_PAGE, "default": api.PAGE},
    },
    "events": {
        "pool": {"type": "string"},
        "after": {"type": "string", "anyOf": [{"maxLength": 0}, {"format": "date-time"}]},
        "limit": {"type": "integer", "minimum": 1, "maximum": api.MAX_PAGE, "default": api.PAGE},
    },
}

TAG = {"type": "string", "pattern": '^"[0-9a-f]{64}(\\.[0-9a-f]{16})?"$'}


def document(url: str) -> dict[str, Any]:
    """Return the description, by OpenAPI 3.1."""
    _, definitions = models_json_schema(
        [(model, "serialization") for model in MODELS], ref_template="#/components/schemas/{model}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for method, path, endpoint in api.routes():
        plain = path.replace(":path}", "}")
        paths.setdefault(plain, {})[method.lower()] = _operation(endpoint.__name__, str(endpoint.__doc__), plain)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Reviewers' service",
            "version": "1",
            "description": "Claims that wait for people, and their decisions.",
        },
        "servers": [{"url": url}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(name: str, told: str, path: str) -> dict[str, Any]:
    model, statuses = ANSWERS[name]
    content = (
        {"application/json": {"schema": _reference(model)}}
        if model
        else {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    )
    parameters = [
        {"name": part, "in": "path", "required": True, "schema": {"type": "string"}} for part in re.findall(r"{(\w+)}", path)
    ]
    parameters += [{"name": part, "in": "query", "schema": schema} for part, schema in QUERIES.get(name, {}).items()]
    if name == "review":
        parameters.append({"name": "If-Match", "in": "header", "required": True, "schema": TAG})
    if name == "claim":
        parameters.append({"name": "If-None-Match", "in": "header", "schema": {"type": "string"}})
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": told.splitlines()[0],
        "parameters": parameters,
        "responses": {str(status): {"description": "Done", "content": content} for status in statuses} | _failures(name),
    }
    if name == "login":
        operation["security"] = []
    if body := BODIES.get(name):
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _reference(body)}}}
    return operation


def _failures(name: str) -> dict[str, Any]:
    wanted = {400, 401, 404, 409, 503, *((403, 412, 413, 422, 428, 429) if name in BODIES else ())}
    told = {kind.status: kind.title for kind in KINDS.values()}
    schema = {"application/problem+json": {"schema": _reference(shapes.ProblemAnswer)}}
    found = {str(status): {"description": told.get(status, "Too large"), "content": schema} for status in sorted(wanted)}
    if "413" in found:
        found["413"] = {"description": "The body is too large"}
    return found | ({"304": {"description": "Nothing has changed"}} if name == "claim" else {})


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
