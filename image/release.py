"""Say which tags a release gets: X.Y.Z, which must be free, and X.Y unless a later fix has it.

`release.py X.Y.Z < TAGS`, where TAGS is what `skopeo list-tags` printed. It prints one tag a line, X.Y.Z last: once that one is
there, the release is complete. Exit 1, with nothing printed, is a refusal.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable

NUMBER = "(0|[1-9][0-9]{0,8})"
VERSION = re.compile(rf"{NUMBER}\.{NUMBER}\.{NUMBER}")


class RefusedError(Exception):
    """This release must not be made."""


def release_tags(version: str, existing: Iterable[str]) -> list[str]:
    """Return the tags to set, given those that the registry has.

    Raises:
        RefusedError: it is no version, or it is released already.
    """
    released = VERSION.fullmatch(version)
    if released is None:
        raise RefusedError(f"{version!r} is no version X.Y.Z; tag the commit vX.Y.Z, with numbers that begin with no 0")
    others = [found for tag in existing if (found := VERSION.fullmatch(tag))]
    if any(other[0] == version for other in others):
        raise RefusedError(f"{version} is released already, and stays what it is; release the change as a new version")
    fixes = [int(other[3]) for other in others if other.group(1, 2) == released.group(1, 2)]
    line, fix = version.rpartition(".")[0], int(released[3])
    return [version] if fix < max(fixes, default=-1) else [line, version]


def registry_tags(text: str) -> list[str]:
    """Return the tags that a registry has.

    Raises:
        RefusedError: the text doesn't tell them.
    """
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    tags = answer.get("Tags") if isinstance(answer, dict) else None
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise RefusedError(f"the registry's tags are unknown; skopeo list-tags printed {text[:200]!r}")
    return tags


def main() -> None:
    """Print the tags, or say why there is to be no release."""
    if len(sys.argv) != 2:
        sys.exit("usage: release.py X.Y.Z < TAGS")
    try:
        tags = release_tags(sys.argv[1], registry_tags(sys.stdin.read()))
    except RefusedError as refused:
        sys.exit(f"refused: {refused}")
    print("\n".join(tags))  # noqa: T201 - its answer


if __name__ == "__main__":
    main()
