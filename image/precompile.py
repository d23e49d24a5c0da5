"""Compile what the program imports of the standard library, whose .pyc files the official base images leave out.

Run once, while the image is built, by the interpreter that the program has there. All of the standard library would be
more than the program itself.
"""

from __future__ import annotations

import importlib
import pkgutil
import py_compile
import sys
import sysconfig
from importlib.util import cache_from_source
from pathlib import Path

import botocore.session  # noqa: TID251 - it loads parts of itself, and of the standard library, when a client is made

import approval_resource

ALONE = {"approval_resource.policy.sandbox.child": ("contextlib", "importlib.util", "json", "re", "resource", "tempfile")}
"""Modules run by path in a process of their own, with their imports. To import them would run them."""
LATE = ("_strptime", "encodings.idna", "getpass", "http.cookies", "pwd", "stringprep", "uuid")
"""Modules that only some runs import."""

UNCHECKED = (1).to_bytes(4, "little")
"""Flags of a .pyc that is never compared with its source."""


def main() -> None:
    """Import everything, then compile what that brought."""
    importlib.import_module("cli")
    for module in pkgutil.walk_packages(approval_resource.__path__, "approval_resource."):
        if module.name not in ALONE:
            importlib.import_module(module.name)
    for name in (*LATE, *(name for names in ALONE.values() for name in names)):
        importlib.import_module(name)
    session = botocore.session.get_session()
    session.set_credentials("none", "none")
    for service in ("dynamodb", "sts"):
        session.create_client(service, region_name="eu-west-1")
    library = Path(sysconfig.get_path("stdlib"))
    for loaded in list(sys.modules.values()):
        source = getattr(loaded, "__file__", None) or ""
        if source.endswith(".py") and Path(source).is_relative_to(library) and not compiled(source):
            py_compile.compile(source, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)


def compiled(source: str) -> bool:
    """Whether an earlier run has compiled it, so that this layer of the image needs no second copy."""
    cache = Path(cache_from_source(source))
    return cache.exists() and cache.read_bytes()[4:8] == UNCHECKED


if __name__ == "__main__":
    main()
