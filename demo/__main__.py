"""Play a pipeline's gate on this machine: the real scripts and command line, on an embedded engine."""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stdout

from demo.engine import Engine, EngineMissingError, ministack
from demo.stage import Program, Stage, SurpriseError, heading, stage, terminable

POOL = {"pool": "payments", "wait_lock": 0.2}
ATC = "https://ci.example"

INTRODUCTION = """\
Each $ line is what Concourse, or a person, runs; below it is what that prints. Concourse hands the three
scripts a JSON document on stdin and their build's BUILD_… variables; the AWS credentials, which it may
hold too, are in the environment here. Each build's directory is the current one. Where a step's answer
was shown before, its metadata is left out."""


def a_build(job: str, number: int) -> dict[str, str]:
    """Concourse's variables for a build of that job."""
    return {
        "ATC_EXTERNAL_URL": ATC,
        "BUILD_TEAM_NAME": "main",
        "BUILD_PIPELINE_NAME": "shop",
        "BUILD_JOB_NAME": job,
        "BUILD_ID": f"4{number}",
        "BUILD_NAME": f"{number}",
    }


def put(play: Stage, build: dict[str, str], **params: object) -> Program:
    """Start `out` for a build."""
    return play.step("out", ".", {"source": POOL, "params": params}, build)


def claim_id(put_answer: str) -> str:
    """The claim that a put's answer names."""
    return str(json.loads(put_answer)["version"]["id"])


def must(holds: bool, effect: str) -> None:
    """Stop the demo unless the effect is there.

    Raises:
        SurpriseError: it isn't.
    """
    if not holds:
        raise SurpriseError(f"missing effect: {effect}")


def preview(engine: Engine) -> None:
    """Show the view of a reviewer, in 25 lines: the list, the approval, and the build that goes on."""
    with stage(engine) as play:
        wanted = {"lock_name": "production", "need_approval": True, "wait": True, "description": "release 1.3"}
        with redirect_stdout(io.StringIO()):  # the JSON that Concourse hands over comes later
            gate = play.step(
                "out", ".", {"source": POOL | {"pool": "shop"}, "params": {"action": "claim"} | wanted}, a_build("deploy", 6)
            )
            gate.waits("reject --id")
        claimed = gate.err.read_text("utf-8").partition("reject --id ")[2].split()[0]
        heading("What a reviewer sees")
        print("A build of shop/deploy waits at its gate.\n")
        must("release" in play.person("list"), "the list shows what waits")
        play.person("approve", claimed[:8], "--comment", "checked the changelog")
        with redirect_stdout(io.StringIO()):
            gate.ends("has been approved by typed:ana")
        print(f"\nIts build goes on; its log ends with:\n  {gate.err.read_text('utf-8').splitlines()[-1]}")
        with redirect_stdout(io.StringIO()):
            source = {"source": POOL | {"pool": "shop"}, "params": {"action": "release", "lock_name": "production"}}
            play.step("out", ".", source, a_build("deploy", 6)).ends("is free")
        print("\nBelow is all of it, step by step.\n")


def approval(play: Stage) -> None:
    """A claim waits at the gate until somebody approves it."""
    heading("1. A gate opens")
    print("A build claims the lock and asks for an approval:")
    deploy = a_build("deploy", 7)
    wanted = {"lock_name": "production", "need_approval": True, "description": "release 1.4"}
    claimed = claim_id(put(play, deploy, action="claim", **wanted).ends("Claimed the lock production", whole=True))

    print("\nConcourse finds the claim:")
    versions = json.loads(play.step("check", "", {"source": POOL}).ends('"state": "pending"'))
    must([version["id"] for version in versions] == [claimed], "check finds the claim")

    print("\nA get with need_approval is the gate:")
    request = {"source": POOL, "version": versions[-1], "params": {"lock_name": "production", "need_approval": True}}
    gate = play.step("in", "gate", request, deploy)
    gate.waits("reject --id")

    print("\nA reviewer looks, and approves:")
    play.cli("list").ends(claimed, "release 1.4")
    must(not (play.directory / "gate" / "receipt.json").exists(), "the gate is shut before the approval")
    decided = "--comment", "checked the changelog"
    play.cli("approve", "--id", claimed, "--reviewer", "ana", *decided).ends(f"INFO: The lock {claimed} has been approved")

    print("\nThe gate opens, and the receipt of the decision is in its directory:")
    gate.ends("approved by typed:ana: checked the changelog", whole=True)
    receipt = json.loads((play.directory / "gate" / "receipt.json").read_bytes())
    must((receipt["decision"], receipt["decided_by"]) == ("approved", "typed:ana"), "the receipt says who approved")

    print("\nThe deployment is done; the build frees the lock:")
    put(play, deploy, action="release", **{"from": "gate"}).ends("The lock production is free")


def rejection(play: Stage) -> None:
    """A claim that waits in the same step fails when somebody rejects it."""
    heading("2. A gate stays shut")
    print("Claim and gate in one step, with wait:")
    wanted = {"lock_name": "production", "need_approval": True, "wait": True, "description": "release 1.5"}
    gate = put(play, a_build("deploy", 8), action="claim", **wanted)
    gate.waits("reject --id")
    claimed = gate.err.read_text("utf-8").partition("reject --id ")[2].split()[0]

    print("\nA reviewer, who may give a beginning of the id only, rejects it:")
    decided = "--comment", "not on a Friday"
    play.cli("reject", claimed[:8], "--reviewer", "bob", *decided).ends(f"INFO: The lock {claimed} has been rejected")

    print("\nThe build fails, and says who and why:")
    gate.ends("rejected by typed:bob", "not on a Friday", code=1)


def changed_plan(play: Stage) -> None:
    """A plan that changed after its approval is refused."""
    heading("3. A plan that changes after its approval")
    play.shell("mkdir plan; echo 'add 1 database' > plan/plan.txt")
    print("\nThe plan is attached to the claim, and approved:")
    wanted = {"lock_name": "terraform", "need_approval": True, "attach": {"plan": "plan/plan.txt"}}
    claimed = claim_id(put(play, a_build("plan", 3), action="claim", **wanted).ends("Claimed the lock terraform"))
    play.cli("approve", "--id", claimed, "--reviewer", "ana").ends("has been approved")

    print("\nThen it changes, and the job that applies it refuses:")
    play.shell("echo 'drop 1 database' > plan/plan.txt")
    apply = a_build("apply", 3)
    verified = {"lock_name": "terraform", "verify": {"plan": "plan/plan.txt"}}
    put(play, apply, action="await", **verified).ends("params.verify.plan", "has changed", code=1)

    print("\nWith the plan that was approved it goes on:")
    play.shell("echo 'add 1 database' > plan/plan.txt")
    put(play, apply, action="await", **verified).ends("approved by typed:ana")

    print("\nBoth locks are free again:")
    put(play, apply, action="release", lock_name="terraform").ends("The lock terraform is free")
    play.cli("list").ends("There is no waiting approval")

    heading("Who did what is on record")
    play.cli("history", "--pool", "payments").ends("approved", "rejected", "spent")
    play.cli("audit", "verify").ends("nothing wrong")


def main() -> int:
    """Play the whole demo. Return the exit code."""
    try:
        with terminable(), ministack() as engine, stage(engine) as play:
            preview(engine)
            print(INTRODUCTION)
            for story in (approval, rejection, changed_plan):
                story(play)
    except EngineMissingError as missing:
        print(f"{missing}, or make demo, which does that first", file=sys.stderr)
        return 1
    except SurpriseError as surprise:
        sys.stdout.flush()
        print(f"The demo failed at {surprise}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; nothing is left running.", file=sys.stderr)
        return 130
    print("\nAll as it must be. Try it by hand: make playground")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
