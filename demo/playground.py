"""Run the embedded engine and the reviewers' service for three people, and print lines to try by hand."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from botocore.session import Session

from demo.engine import ROOT, EngineMissingError, ministack
from demo.pages import Issuer, service
from demo.stage import environment, terminable

UNSET = ("AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS", "APPROVAL_TABLE")
"""Variables that would lead a program away from the engine."""

SHOWN = ("AWS_", "NO_PROXY")
PEOPLE = ("anna", "ben", "carl")
"""IAM users of the engine's account. AWS knows each, so that a policy can name them."""
ACCOUNT = "123456789012"
MAY_ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
FUNCTIONS = """
newest() { approvals list --format json | python3 -c 'import json, sys; found = json.load(sys.stdin); print(found[-1]["id"] if found else "none-yet: claim something first")'; }
as() {
    case "$1" in
%s
    *) echo "there are %s" >&2; return 1 ;;
    esac
}
as carl
"""

SERVICES = "dynamodb,iam,sts,cognito-idp"
LINES = """
# claim a lock and ask for an approval, as a put step does
echo '{{"source": {{"pool": "try"}},
    "params": {{"action": "claim", "lock_name": "deploy", "need_approval": true, "description": "by hand"}}}}' \\
    | assets/out .

# what Concourse would find, and what waits
echo '{{"source": {{"pool": "try"}}}}' | assets/check
approvals list

# a gate that waits: it keeps this terminal. Open another one, cd and source as above, and decide there
echo "{{\\"source\\": {{\\"pool\\": \\"try\\"}}, \\"params\\": {{\\"need_approval\\": true}},
    \\"version\\": $(echo '{{"source": {{"pool": "try"}}}}' | assets/check | tr -d '[]')}}" \\
    | assets/in {gate}

# decide: one of these two; put the id, or its first eight characters, where ID stands
approvals approve ID --comment "looks good"
approvals reject ID --comment "not today"

# what the gate left, and the end of it
cat {gate}/receipt.json
echo '{{"source": {{"pool": "try"}}, "params": {{"action": "release", "lock_name": "deploy"}}}}' | assets/out .

# two people: carl asks, his own approval opens nothing, anna's and ben's do
echo '{{"source": {{"pool": "try"}},
    "params": {{"action": "claim", "lock_name": "two", "need_approval": true, "description": "takes two", "policy": {policy}}}}}' \\
    | BUILD_ID=2 BUILD_NAME=2 assets/out .
approvals approve "$(newest)" || echo "exit code $?: on record, and opens nothing"
as anna; approvals approve "$(newest)" --comment "looks good"
as ben; approvals approve "$(newest)"
approvals show "$(newest)"; as carl

# in a browser: {url}
# sign in as anna, who is in the group security, as ben, or as carl, who asks. Password of each: {password}
# Claim this for them to decide on. It takes two, one of them in security, and carl's own doesn't count
echo '{{"source": {{"pool": "try"}},
    "params": {{"action": "claim", "lock_name": "pages", "need_approval": true, "description": "in a browser", "policy": {by_group}}}}}' \\
    | BUILD_ID=3 BUILD_NAME=3 assets/out .

# the record
approvals history --pool try
approvals audit report --pool try --since 1h  # who, when, under which policy, and whether it was altered
approvals audit verify
approvals audit verify --against {gate}/receipt.json  # what the gate above left
"""


def policies(issuer: Issuer) -> dict[str, str]:
    """Return the policies of the lines. Keys of AWS and a sign-in at the issuer make one person."""
    persons = {name: [f"aws:arn:aws:iam::{ACCOUNT}:user/{name}", issuer.identity(name), name] for name in PEOPLE}
    two = {"name": "two-people", "required_approvals": 2, "allow_self_approval": False, "people": persons}
    rule = {"name": "security", "group": "security", "required_approvals": 1}
    by_group = two | {"approval_rules": [rule], "groups": {"security": [issuer.group("security"), "anna"]}}
    return {"policy": json.dumps(two), "by_group": json.dumps(by_group)}


def people(url: str, environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Make the users; return the keys of each by name."""
    session = Session()
    session.set_credentials(environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"])
    iam = session.create_client("iam", region_name=environ["AWS_DEFAULT_REGION"], endpoint_url=url)
    found = {}
    for name in PEOPLE:
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=json.dumps(MAY_ALL))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        found[name] = (key["AccessKeyId"], key["SecretAccessKey"])
    return found


def settings_of(environ: Mapping[str, str], keys: Mapping[str, tuple[str, str]]) -> str:
    """Return the file to source: where the engine is, a build's variables, and who you are."""
    exports = {name: value for name, value in environ.items() if name.startswith(SHOWN)}
    cases = "\n".join(
        f"    {name}) export AWS_ACCESS_KEY_ID={shlex.quote(id_)} AWS_SECRET_ACCESS_KEY={shlex.quote(secret)} ;;"
        for name, (id_, secret) in keys.items()
    )
    lines = [
        f"unset {' '.join(UNSET)}",
        *(f"export {name}={shlex.quote(value)}" for name, value in exports.items()),
        "export no_proxy=$NO_PROXY",
        f"export PATH={shlex.quote(str(Path(sys.executable).parent))}{os.pathsep}$PATH",
        "export BUILD_TEAM_NAME=main BUILD_PIPELINE_NAME=try BUILD_JOB_NAME=deploy BUILD_ID=1 BUILD_NAME=1 BUILD_CREATED_BY=carl",
        FUNCTIONS % (cases, ", ".join(PEOPLE)),
    ]
    return "\n".join(lines)


def main() -> int:
    """Run until Ctrl-C. Return the exit code."""
    try:
        root = {"AWS_ACCESS_KEY_ID": "root-of-the-account", "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16)}
        settings = {"AUTH": "true", "MINISTACK_ACCOUNT_ID": ACCOUNT, "SERVICES": SERVICES} | root
        with terminable(), ministack(**settings) as engine, TemporaryDirectory(prefix="playground-") as directory:
            environ = environment(engine) | root | {"AWS_ENDPOINT_URL_STS": engine.url}
            os.environ.clear()  # a person's own settings would mislead the client that makes the users
            os.environ.update(environ)
            command = [sys.executable, "cli.py", "init"]
            subprocess.run(command, cwd=ROOT, env=environ, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            file = Path(directory) / "playground.sh"
            file.write_text(settings_of(environ, people(engine.url, environ)), encoding="utf-8")
            with service(engine, environ, Path(directory)) as (url, issuer):
                print(
                    f"# DynamoDB runs on this machine with an empty table, and AWS knows {', '.join(PEOPLE)}.\n"
                    f"# The reviewers' service is at {url}\n"
                    "# Each claim in pool try is told here, by a webhook, with its link.\n# In another terminal:\n"
                )
                print(f"cd {shlex.quote(str(ROOT))}")
                print(f"source {shlex.quote(str(file))}  # you are carl; `as anna` and `as ben` change that")
                gate = shlex.quote(f"{directory}/gate")
                print(LINES.format(gate=gate, url=url, password=issuer.password, **policies(issuer)))
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
