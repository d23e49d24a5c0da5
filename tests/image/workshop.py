"""Builds the Dockerfile and runs what came of it with podman and buildah, on a store of its own and without any registry."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "image"
TOOLS = ("buildah", "podman", "runc", "mmdebstrap")
INSTALL = f"apt-get install --no-install-recommends {' '.join(TOOLS)}"
EMULATOR = Path("/usr/bin/qemu-aarch64-static")
EMULATION = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64")
CERTIFICATES = Path(os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt")
HARDENED = (
    "--read-only",
    "--read-only-tmpfs=false",
    "--tmpfs=/tmp:rw,size=16m,mode=1777",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--memory=256m",
    "--memory-swap=256m",
    "--pids-limit=64",
)
"""As little as a careful operator leaves a container."""

CONCOURSE_ROOT = 65_535
"""The host's id of an unprivileged container's root: the last one, as Concourse maps it. Other ids are the same inside."""
CONCOURSE = (
    *(option for option in HARDENED if option != "--cap-drop=ALL"),
    *(f"--{kind}map=0:{CONCOURSE_ROOT}:1" for kind in ("uid", "gid")),
    *(f"--{kind}map=1:1:{CONCOURSE_ROOT - 1}" for kind in ("uid", "gid")),
)
"""A step's container: root in a user namespace, with the capabilities that Concourse leaves it, which are podman's own too."""

CONFIGURATION = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "host"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
"""
"""What podman and buildah need inside a sandbox, where limits can't be raised and no systemd or journal is."""

SUITE = "trixie"
PACKAGES = (
    "base-files,base-passwd,bash,ca-certificates,coreutils,dash,findutils,"
    "grep,libc-bin,netbase,passwd,python3,python3-pip,python3-venv,sed,tzdata"
)
HOOKS = (
    'for name in passwd group; do cp "$1/usr/share/base-passwd/$name.master" "$1/etc/$name"; done',
    'rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED "$1"/etc/resolv.conf "$1"/etc/hostname',
    'mkdir -p "$1/usr/local/bin"; for name in python python3; do ln -sf /usr/bin/python3 "$1/usr/local/bin/$name"; done',
    'ln -sf /usr/bin/pip3 "$1/usr/local/bin/pip"',
    'find "$1"/usr/lib/python3* -name "*.pyc" -delete',
    'for deb in "$1"/var/cache/apt/archives/*.deb; do echo "Status: install ok installed";'
    ' dpkg-deb -f "$deb" Package Source Version Architecture; echo; done > "$1/var/lib/dpkg/status"',
)
"""What makes Debian's own Python look like the official image.

Users, commands in /usr/local/bin, nothing precompiled, and the list of what is installed.

The packages are only unpacked, which needs no program of theirs to run and is as quick for another architecture.
"""


class ToolMissingError(RuntimeError):
    """Something that an image needs isn't on this machine."""


class BuildFailedError(RuntimeError):
    """The Dockerfile did not build."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a container left behind."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Workshop:
    """A store of images and containers that goes when it is closed."""

    path: Path

    @property
    def environment(self) -> dict[str, str]:
        """What podman and buildah get; nothing of it reaches a container."""
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR")}
        return kept | {"CONTAINERS_CONF": str(self.path / "containers.conf")}

    @staticmethod
    def architecture() -> str:
        """This machine's, as Debian names it."""
        return "amd64" if os.uname().machine == "x86_64" else "arm64"

    def command(self, tool: str, *arguments: str) -> list[str]:
        """That tool on this store."""
        store = ["--root", str(self.path / "graph"), "--runroot", str(self.path / "run"), "--storage-driver", "overlay"]
        return [tool, *store, *arguments]

    def call(self, tool: str, *arguments: str, stdin: bytes = b"") -> Ran:
        """Run a tool to its end."""
        done = subprocess.run(
            self.command(tool, *arguments), input=stdin, env=self.environment, capture_output=True, check=False, timeout=900
        )
        return Ran(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    def must(self, tool: str, *arguments: str) -> str:
        """Run a tool that has to succeed; what it printed."""
        ran = self.call(tool, *arguments)
        if ran.code:
            raise RuntimeError(f"{tool} {arguments[0]} ended with {ran.code}:\n{ran.stderr[-2000:]}")
        return ran.stdout.strip()

    def base(self, architecture: str) -> str:
        """A stand-in for the official Python image of that architecture."""
        tag = f"localhost/python:{SUITE}-{architecture}"
        if not self.call("podman", "image", "exists", tag).code:
            return tag
        archive = base_archive(architecture)
        path = "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
        self.must("podman", "import", "--quiet", "--arch", architecture, "--change", path, str(archive), tag)
        return tag

    def build(self, tag: str, base: str, dockerfile: str, *arguments: str) -> str:
        """Build that Dockerfile's text on that base, with the repository as its context; returns the tag.

        Steps that were built before are taken from there. The machine's certificates and pip's settings are lent to
        the build as mounts, and are no part of what it makes.

        Raises:
            BuildFailedError: it doesn't build.
        """
        file = self.path / f"Dockerfile-{tag}"
        file.write_text(dockerfile, encoding="utf-8")
        settings = self.path / "pip.conf"
        settings.write_text(_pip_settings(), encoding="utf-8")
        mounts = [f"--volume={settings}:/etc/pip.conf:ro"]
        if CERTIFICATES.exists():
            mounts.append(f"--volume={CERTIFICATES}:/etc/ssl/certs/ca-certificates.crt:ro")
        built = self.call(
            "buildah",
            *("bud", "--layers", "--isolation=chroot", "--format=docker", *mounts, f"--build-arg=BASE_IMAGE={base}"),
            *(*arguments, f"--tag=localhost/{tag}", f"--file={file}", str(ROOT)),
        )
        if built.code:
            raise BuildFailedError((built.stdout + built.stderr)[-4000:])
        return f"localhost/{tag}"

    def run(self, image: str, *command: str, user: str = "", stdin: bytes = b"", network: str = "host") -> Ran:
        """A command in a fresh, hardened container; 125 to 127 are podman's own exit codes."""
        options = [f"--network={network}", *HARDENED, *([f"--user={user}"] if user else [])]
        return self.call("podman", "run", "--rm", "--interactive", *options, image, *command, stdin=stdin)

    def step(self, image: str, script: str, volume: Path, *, stdin: bytes) -> Ran:
        """A script as Concourse runs it: as whatever user the image names, with that volume as the step's directory."""
        directory = f"/tmp/build/{volume.name}"  # noqa: S108 - in the container
        options = ["--network=host", *CONCOURSE, f"--volume={volume}:{directory}"]
        command = [f"/opt/resource/{script}", directory]
        return self.call("podman", "run", "--rm", "--interactive", *options, image, *command, stdin=stdin)

    @contextmanager
    def mounted(self, image: str) -> Iterator[Path]:
        """The image's files."""
        path = Path(self.must("podman", "image", "mount", image))
        try:
            yield path
        finally:
            self.must("podman", "image", "unmount", image)

    def configuration(self, image: str) -> dict[str, Any]:
        """What the image says of itself: user, environment, labels."""
        found: dict[str, Any] = json.loads(self.must("podman", "image", "inspect", image))[0]
        return found

    def layers(self, image: str) -> list[str]:
        """The layers it is made of, the base's first."""
        found: list[str] = self.configuration(image)["RootFS"]["Layers"]
        return found

    def exported(self, image: str) -> Path:
        """A folder with the image's layers as files, uncompressed, under the names that its manifest gives them."""
        path = self.path / "exported"
        shutil.rmtree(path, ignore_errors=True)
        self.must("podman", "push", "--quiet", "--remove-signatures", image, f"dir:{path}")
        return path


@contextmanager
def workshop() -> Iterator[Workshop]:
    """A workshop in a new folder. What it ran is ended, and what it mounted unmounted, whatever happens.

    Raises:
        ToolMissingError: a tool is missing, or nobody but root may do this.
    """
    if os.geteuid():
        raise ToolMissingError("images are built and run by root here (mounts, chroot)")
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise ToolMissingError(f"{', '.join(missing)}: not installed; {INSTALL}")
    path = Path(tempfile.mkdtemp(prefix="image-"))  # podman takes no path of more than 50 characters, as pytest's are
    (path / "containers.conf").write_text(CONFIGURATION, encoding="utf-8")
    shop = Workshop(path)
    try:
        yield shop
    finally:
        shop.call("podman", "rm", "--all", "--force", "--time=0")
        shop.call("podman", "image", "unmount", "--all", "--force")
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
        for mounted in sorted((mount for mount in mounts if mount.startswith(f"{path}/")), reverse=True):
            subprocess.run(["umount", "--lazy", mounted], check=False, capture_output=True)
        shutil.rmtree(path, ignore_errors=True)


def base_archive(architecture: str) -> Path:
    """The stand-in's files, made from Debian's packages unless an earlier run has left them.

    Raises:
        ToolMissingError: they can't be made.
    """
    recipe = sha256(repr((PACKAGES, HOOKS)).encode()).hexdigest()[:8]
    archive = CACHE / f"base-{SUITE}-{architecture}-{recipe}.tar"
    if not archive.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        unfinished = archive.with_suffix(f".{os.getpid()}")
        leave_out = [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "man", "locale")]
        hooks = [f"--extract-hook={hook}" for hook in HOOKS]
        made = subprocess.run(
            [
                *("mmdebstrap", "--quiet", "--format=tar", "--variant=extract", f"--architectures={architecture}"),
                *(f"--include={PACKAGES}", *leave_out, *hooks, SUITE, str(unfinished)),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=1200,
        )
        if made.returncode:
            unfinished.unlink(missing_ok=True)
            raise ToolMissingError(f"no base could be made from Debian's packages:\n{made.stderr[-2000:]}")
        unfinished.rename(archive)
    return archive


def _pip_settings() -> str:
    """What pip is told on this machine, for where it reaches its index only so."""
    lines = ["[global]"]
    for name in ("index_url", "extra_index_url", "trusted_host", "default_timeout", "retries"):
        if value := os.environ.get(f"PIP_{name.upper()}"):
            lines.append(f"{name.replace('_', '-')} = {value}")
    if CERTIFICATES.exists():
        lines.append("cert = /etc/ssl/certs/ca-certificates.crt")
    return "\n".join(lines) + "\n"
