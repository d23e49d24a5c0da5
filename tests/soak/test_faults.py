"""Lines to DynamoDB on which anything goes wrong: no double claim, no lost decision, no gate opened wrongly, no traceback."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from itertools import cycle
from random import Random

import pytest

from approval_resource.store.dynamodb.store import DynamoStore
from demo.engine import Engine
from tests import tally
from tests.scripts.conftest import Concourse
from tests.soak.proxy import Proxy
from tests.soak.story import Story
from tests.soak.toxics import KINDS, MET_BY, at_rate

AT_ONCE = 4
"""Stories that are played at the same time: most of what a failing line costs is waiting."""
RATES = (0.3, 0.6)
"""The part of requests that meet a fault, by chance between these for each process."""
RARE_RATES = (0.6, 0.9)
"""The same where only few of a process's requests can meet it."""
Kinds = Sequence[str]
Play = Callable[[Random, Sequence[Sequence[Kinds]]], None]


@pytest.fixture
def play(concourse: Concourse, connect: Callable[[], DynamoStore], engine: Engine, effort: tally.Effort) -> Iterator[Play]:
    """Plays stories, each in a pool of its own; a story's processes meet the kinds of fault that are dealt to it, in turn."""
    started: list[Concourse] = []

    def one(name: str, seed: int, deal: Sequence[Kinds], builds: int) -> None:
        random = Random(seed)  # noqa: S311 - what is tried, not what is kept secret
        scratch = concourse.scratch / name
        scratch.mkdir()
        clear = replace(concourse.sourced(pool=name), scratch=scratch, started=[])
        started.append(clear)
        hands = cycle(random.sample(deal, len(deal)))
        applied: Counter[str] = Counter()
        with ExitStack() as stack:

            def line() -> Concourse:
                chance = Random(random.getrandbits(32))  # noqa: S311
                kinds = next(hands)
                rare = all(KINDS[kind] in MET_BY for kind in kinds)
                judge = at_rate(chance, random.uniform(*(RARE_RATES if rare else RATES)), kinds)
                proxy = stack.enter_context(Proxy(engine.url, chance, judge))
                stack.callback(lambda: applied.update(proxy.applied))
                return replace(clear.sourced(endpoint_url=proxy.url), engine=Engine(proxy.url, engine.pid))

            story = Story(name, connect(), random, clear, line)
            try:
                story.play(builds)
            except BaseException as error:
                error.add_note(f"in {name}, whose processes meet {' or '.join('+'.join(kinds) for kinds in deal)}")
                raise
        # Whatever was still on its way has reached the engine by now.
        story.require_promises(builds)
        tally.add(faults=applied.total(), **{f"faults: {kind}": count for kind, count in applied.items()})

    def play(random: Random, deals: Sequence[Sequence[Kinds]]) -> None:
        builds = effort.of(2, 3)
        connect().create_table()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            told = [
                pool.submit(one, f"story-{number}", random.getrandbits(32), deal, builds) for number, deal in enumerate(deals)
            ]
            for future in told:
                future.result()

    try:
        yield play
    finally:
        for concourse in started:
            for running in concourse.started:
                running.kill()


@pytest.fixture
def random() -> Random:
    """What goes by chance, from a seed that a failing test shows."""
    seed, random = tally.seeded()
    print(f"APPROVAL_SEED={seed}")  # noqa: T201
    return random


@pytest.mark.long
@pytest.mark.timeout(600)
def test_promises_hold_whatever_goes_wrong_on_the_line(play: Play, random: Random, effort: tally.Effort) -> None:
    """Claims, decisions, gates, releases and checks where up to 60 % of the requests meet a fault.

    Stories in which any fault may come at any time, some in which each process meets one kind alone, and in a
    soak also some in which that is the same kind for all.
    """
    alone = [[kind] for kind in KINDS]
    any_time = [[list(KINDS)]] * effort.of(1, 4)
    each_its_own = [alone] * effort.of(1, 3)
    same_for_all = [[kind] for kind in alone] * effort.of(0, 1)
    play(random, any_time + each_its_own + same_for_all)
