"""Lines for the command line, built from its own tree of commands: a new one, or a new option, is fuzzed without a word here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import click
from hypothesis import strategies as st

from tests.fuzz import hostile
from tests.fuzz.hostile import Values, mostly
from tests.fuzz.inputs import NEAR_MISSES

CLAIMS = 4
"""How many claims there are to name."""
ID = 36
FORMS = ("--{}", "-{}", "--{}=", "---{}", "--no-{}")


@dataclass(frozen=True, slots=True)
class Known:
    """Stands for something that is there when the line is run: the pool, or a claim's id or the beginning of it."""

    what: str
    number: int = 0
    length: int = ID


Word = str | Known


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with the words that lead to it."""
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name), command


ids = mostly(
    st.builds(Known, st.just("id"), st.integers(0, CLAIMS - 1), st.sampled_from([ID, ID, ID, 8, 12])),
    st.builds(Known, st.just("id"), st.integers(0, CLAIMS - 1), st.sampled_from([0, 1, 7, 35])) | hostile.printable,
    one_in=4,
)
pools = mostly(st.just(Known("pool")), hostile.printable, one_in=4)
files = st.sampled_from(["/dev/null", "/", "", "no such", "receipt.json", "junk.json", "deep.json", "odd.json", "x" * 300])
"""Those that are there lie in the directory in which the line is run."""
near = {
    "region": NEAR_MISSES["AWS_DEFAULT_REGION"],
    "endpoint_url": NEAR_MISSES["endpoint_url"],
    "table": NEAR_MISSES["table"],
    "profile": ("", "default", "no such", "x" * 9_000, "a\nb"),
}


def value_of(parameter: click.Parameter) -> Values:
    """Values for that option or argument."""
    name = parameter.name or ""
    if name in near:
        return st.sampled_from(near[name])
    if name in ("id", "ids", "claim_id", "more"):
        return ids
    if name == "pool":
        return pools
    if isinstance(parameter.type, click.Choice):
        return mostly(st.sampled_from([str(choice) for choice in parameter.type.choices]), hostile.printable)
    if isinstance(parameter.type, click.Path):
        return files
    if isinstance(parameter.type, (click.types.IntParamType, click.types.FloatParamType)):
        return mostly(st.integers(0, 40_000).map(str), hostile.number.map(str) | hostile.printable, one_in=3)
    return mostly(st.sampled_from(["a", "ana", "plan.txt", "because"]), hostile.printable, one_in=3)


@cache
def words_of(parameter: click.Parameter) -> Values:
    """That option or argument as it stands in a line."""
    values = value_of(parameter)
    if isinstance(parameter, click.Argument):
        return st.lists(values, min_size=1, max_size=3 if parameter.nargs == -1 else 1)
    option = st.sampled_from([*parameter.opts, *parameter.secondary_opts])
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return option.map(lambda name: [name])
    return mostly(st.tuples(option, values).map(list), option.map(lambda name: [name]))


@cache
def lines(group: click.Group) -> Values:
    """A line: mostly a command with its arguments and some options, now and then words in any order."""
    known = list(leaves(group))
    every = [parameter for _, command in known for parameter in command.params]
    spelt = st.tuples(st.sampled_from(FORMS), hostile.printable).map(lambda pair: [pair[0].format(pair[1])])
    odd = st.one_of(
        hostile.printable.map(lambda one: [one]), spelt, st.sampled_from(every).flatmap(words_of), st.just(["--help"])
    )
    sane = st.sampled_from(known).flatmap(lambda found: _line(*found))
    return mostly(sane, st.tuples(sane, st.lists(odd, max_size=3)).flatmap(_shuffled), one_in=5)


@cache
def _line(path: tuple[str, ...], command: click.Command) -> Values:
    arguments = [words_of(parameter) for parameter in command.params if isinstance(parameter, click.Argument)]
    own = [parameter for parameter in command.params if isinstance(parameter, click.Option) and parameter.name not in near]
    options = st.lists(st.sampled_from(own).flatmap(words_of), max_size=3) if own else st.just([])
    reaching = [parameter for parameter in command.params if parameter.name in near]
    elsewhere = st.lists(st.sampled_from(reaching).flatmap(words_of), min_size=1, max_size=2) if reaching else st.just([])
    parts = st.tuples(mostly(st.just([]), elsewhere, one_in=12), st.tuples(*arguments), options)
    return parts.map(lambda parts: [*path, *(word for part in parts for words in part for word in words)])


def _shuffled(parts: tuple[list[Word], list[list[Word]]]) -> Values:
    line, more = parts
    return st.permutations([*line, *(word for words in more for word in words)])
