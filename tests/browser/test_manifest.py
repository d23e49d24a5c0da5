"""The manifest to copy, held to Kubernetes' own schemas."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import kubernetes_validate
import pytest
import yaml

from demo.engine import ROOT

MANIFEST = ROOT / "docs" / "deploy" / "service-kubernetes.yaml"
VERSION = "1.34"
DOCUMENTS: list[dict[str, Any]] = list(yaml.safe_load_all(MANIFEST.read_text(encoding="utf-8")))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document["kind"])
def test_kubernetes_takes_it(document: dict[str, Any]) -> None:
    """Each document is of its kind, and has no field that the kind hasn't; one with a slip of the pen is refused."""
    assert kubernetes_validate.validate(document, VERSION, strict=True).startswith(VERSION)
    slip = deepcopy(document)
    slip["metadata"]["labelz"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(slip, VERSION, strict=True)
