"""The policies and facts that a claim is made with, read from its params and from files of the build."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from approval_resource.claims.decide import Terms
from approval_resource.errors import ConfigError
from approval_resource.steps.files import inside, read_object, regular
from approval_resource.steps.params import ClaimParams
from approval_resource.text import first_lines, quoted

if TYPE_CHECKING:
    from approval_resource.policy.language.load import Loaded


def read_terms(directory: Path, params: ClaimParams, problems: list[str], say: Callable[[str], None]) -> Terms:
    """What the claim is to be judged by; problems are noted, one line each, and what is merely odd is said."""
    given = read_object(directory, "facts", params.facts, params.facts_file, problems)
    facts = json.loads(given) if given else {}
    if facts:
        from approval_resource.policy.facts import not_suppliable

        ignored = not_suppliable(facts)
        if ignored:
            say(f"warning: facts {', '.join(ignored)} are not for a pipeline to say, and are left out")
    if params.policy is None and params.policy_file is None:
        return Terms("", facts)
    from approval_resource.policy.authoring.lint import accepted
    from approval_resource.policy.language.load import stored

    loaded: list[Loaded] = []
    try:
        loaded += _inline(params)
    except ConfigError as wrong:
        problems.extend(wrong.problems)
    loaded += _from_files(directory, params, problems)
    if problems:
        return Terms()
    try:
        warnings = accepted(loaded)
        for line in first_lines([str(warning) for warning in warnings]):
            say(line)
        return Terms(stored(loaded), facts)
    except ConfigError as wrong:
        problems.extend(wrong.problems)
        return Terms()


def _inline(params: ClaimParams) -> list[Loaded]:
    from approval_resource.policy.language.load import load

    return [] if params.policy is None else load(params.policy, "params.policy")


def _from_files(directory: Path, params: ClaimParams, problems: list[str]) -> list[Loaded]:
    from approval_resource.policy.language.load import load_text

    names = [params.policy_file] if isinstance(params.policy_file, str) else params.policy_file or []
    found: list[Loaded] = []
    for name in names:
        path = inside(directory, name, "params.policy_file", problems)
        if path is None:
            continue
        try:
            found += load_text(regular(path).read_text(encoding="utf-8"), name)
        except ConfigError as wrong:
            problems.extend(wrong.problems)
        except OSError as error:
            problems.append(
                f"params.policy_file: can't read {quoted(name)} ({error.strerror}); on Concourse, name its artifact in inputs"
            )
        except UnicodeDecodeError:
            problems.append(f"params.policy_file: {quoted(name)} is no text in UTF-8")
    return found
