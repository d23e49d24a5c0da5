"""Policies and facts of a claim, read from its params and from files of the build."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from approval_resource.claims.decide import Terms
from approval_resource.errors import ConfigError, Problems
from approval_resource.steps.files import inside, read_object, regular
from approval_resource.steps.put_params import ClaimParams
from approval_resource.text import first_lines, quoted

if TYPE_CHECKING:
    from approval_resource.policy.language.load import Loaded


def read_terms(directory: Path, params: ClaimParams, say: Callable[[str], None]) -> Terms:
    """Return the policies and facts that decide on the claim. Warnings go to the build log, through `say`.

    Raises:
        ConfigError: every problem of the policies and facts.
    """
    problems = Problems()
    given = problems.gather(read_object, directory, "facts", params.facts, params.facts_file)
    facts = json.loads(given) if given else {}
    if facts:
        from approval_resource.policy.facts import not_suppliable

        ignored = not_suppliable(facts)
        if ignored:
            say(f"warning: facts {', '.join(ignored)} are not for a pipeline to say, and are left out")
    policy = ""
    if params.policy is not None or params.policy_file is not None:
        policy = problems.gather(_policy, directory, params, say) or ""
    problems.require_none()
    return Terms(policy, facts)


def _policy(directory: Path, params: ClaimParams, say: Callable[[str], None]) -> str:
    """Return the policies of the params in stored form.

    Raises:
        ConfigError: every problem of the policies.
    """
    from approval_resource.policy.authoring.lint import require_no_errors
    from approval_resource.policy.language.load import load, stored

    problems = Problems()
    loaded = list(problems.gather(load, params.policy, "params.policy") or []) if params.policy is not None else []
    names = [params.policy_file] if isinstance(params.policy_file, str) else params.policy_file or []
    for name in names:
        loaded += problems.gather(_from_file, directory, name) or []
    problems.require_none()
    for line in first_lines([str(warning) for warning in require_no_errors(loaded)]):
        say(line)
    return stored(loaded)


def _from_file(directory: Path, name: str) -> list[Loaded]:
    from approval_resource.policy.language.load import load_text

    try:
        return load_text(regular(inside(directory, name, "params.policy_file")).read_text(encoding="utf-8"), name)
    except OSError as error:
        raise ConfigError(
            [f"params.policy_file: can't read {quoted(name)} ({error.strerror}); on Concourse, name its artifact in inputs"]
        ) from error
    except UnicodeDecodeError as other:
        raise ConfigError([f"params.policy_file: {quoted(name)} is no text in UTF-8"]) from other
