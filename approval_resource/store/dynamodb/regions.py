"""Regions of AWS in botocore's data, for a hint about an unknown one."""

from __future__ import annotations

import re

from botocore.loaders import create_loader

ADDRESS = re.compile(r"^https?://dynamodb\.([a-z0-9-]+)\.amazonaws\.com")
SHOWN = 3


def unknown_region(address: str) -> str:
    """Return a hint if botocore's data lacks the region in an address of AWS, else an empty string.

    It is a hint for an address at which nobody answers, and no check: AWS has newer regions than the data.
    """
    named = ADDRESS.match(address)
    if named is None:
        return ""
    partitions = create_loader().load_data("endpoints")["partitions"]
    known = sorted(region for partition in partitions for region in partition["regions"])
    if named[1] in known:
        return ""
    from difflib import get_close_matches

    near = get_close_matches(named[1], known, SHOWN) or ["eu-west-1", "us-east-1"]
    return f"no region {named[1]} is known; regions are called {', '.join(near)}"
