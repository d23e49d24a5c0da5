"""Keeps the embedded engine running and prints what to type to try everything by hand."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from demo.engine import ROOT, EngineMissingError, ministack
from demo.stage import environment, terminable

UNSET = ("AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS", "APPROVAL_TABLE")
"""What would lead elsewhere than to the engine."""

SHOWN = ("AWS_", "NO_PROXY")

LINES = """
# claim a lock and ask for an approval, as a put step does
echo '{{"source": {{"pool": "try"}},
    "params": {{"action": "claim", "lock_name": "deploy", "need_approval": true, "description": "by hand"}}}}' \\
    | assets/out .

# what Concourse would find, and what waits
echo '{{"source": {{"pool": "try"}}}}' | assets/check
python3 cli.py list

# a gate that waits; approve from another terminal, with the same exports
echo "{{\\"source\\": {{\\"pool\\": \\"try\\"}}, \\"params\\": {{\\"need_approval\\": true}},
    \\"version\\": $(echo '{{"source": {{"pool": "try"}}}}' | assets/check | tr -d '[]')}}" \\
    | assets/in {gate}

# decide: put the id, or its first eight characters, where ID stands
python3 cli.py approve ID --comment "looks good"
python3 cli.py reject ID --comment "not today"

# what the gate left, and the end of it
cat {gate}/receipt.json
echo '{{"source": {{"pool": "try"}}, "params": {{"action": "release", "lock_name": "deploy"}}}}' | assets/out .

# the record
python3 cli.py history --pool try
python3 cli.py audit verify --against {gate}/receipt.json
"""


def main() -> int:
    """Run until Ctrl-C; returns 0 then."""
    try:
        with terminable(), ministack() as engine, TemporaryDirectory(prefix="playground-") as directory:
            environ = environment(engine)
            command = [sys.executable, "cli.py", "init"]
            subprocess.run(command, cwd=ROOT, env=environ, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            print("# DynamoDB runs on this machine with an empty table. In another terminal:\n")
            print(f"cd {shlex.quote(str(ROOT))}")
            print(f"unset {' '.join(UNSET)}")
            for name, value in environ.items():
                if name.startswith(SHOWN):
                    print(f"export {name}={shlex.quote(value)}")
            print("export no_proxy=$NO_PROXY")
            print(f"export PATH={shlex.quote(str(Path(sys.executable).parent))}{os.pathsep}$PATH")
            print("export BUILD_TEAM_NAME=main BUILD_PIPELINE_NAME=try BUILD_JOB_NAME=deploy BUILD_ID=1 BUILD_NAME=1")
            print(LINES.format(gate=shlex.quote(f"{directory}/gate")))
            print("# Ctrl-C here ends it, and leaves nothing behind.", flush=True)
            while True:
                signal.pause()
    except EngineMissingError as missing:
        print(f"{missing}, or make playground, which does that first", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; nothing is left behind.", file=sys.stderr)
        return 0


if __name__ == "__main__":
    raise SystemExit(main())
