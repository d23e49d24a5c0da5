"""The same Dockerfile on arm64: built, and run where this machine can run such programs."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.image.conftest import DOCKERFILE, missing
from tests.image.faults import faults
from tests.image.workshop import EMULATION, EMULATOR, ToolMissingError, Workshop

FORMAT = rb"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
MASK = rb"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
"""How the kernel tells a program for arm64, as binfmt_misc is told it."""


def require_emulation() -> None:
    """Let this machine's kernel run programs for arm64 through the emulator, unless it does.

    Raises:
        ToolMissingError: it can't.
    """
    if os.uname().machine in ("aarch64", "arm64") or EMULATION.exists():
        return
    if not EMULATOR.exists():
        raise ToolMissingError(f"{EMULATOR}: not installed; apt-get install --no-install-recommends qemu-user-static arch-test")
    register = EMULATION.with_name("register")
    if not register.exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(register.parent)], check=False, capture_output=True)
    try:
        register.write_bytes(b":qemu-aarch64:M::" + FORMAT + b":" + MASK + b":" + os.fsencode(EMULATOR) + b":F")
    except OSError as refused:
        raise ToolMissingError(f"this kernel takes no emulator for arm64 ({refused})") from refused


@pytest.mark.timeout(1500)
def test_it_works_on_arm64(shop: Workshop, source: dict[str, str]) -> None:
    """Its wheels are there, it has no faults, and its check asks the engine."""
    try:
        require_emulation()
        base = shop.base("arm64")
    except ToolMissingError as error:
        missing(error)
    image = shop.build("approval-resource-arm64", base, DOCKERFILE)
    assert shop.run(image, "uname", "-m").stdout.strip() == "aarch64"
    assert faults(shop, image, source) == []
