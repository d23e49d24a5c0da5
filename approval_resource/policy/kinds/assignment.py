"""Assignment of approvals to rules: a maximum matching, so that overlapping rules don't block each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations, islice

Seat = tuple[int, str]
"""A rule's number, and the person for whom an approval counts there. A seat takes one approval."""
MAX_COMBINATIONS = 300
"""Upper bound of the combinations of rules that are tried. Past it, an explanation may not be the best one.
Whether all rules are met stays exact."""

Node = tuple[str, object]
SOURCE, SINK = ("source", 0), ("sink", 0)


def assign(options: Sequence[Sequence[Seat]], required: Sequence[int]) -> list[Seat | None]:
    """Return the seat of each approval; None where it takes none.

    `options`: the seats that each approval may take. `required`: the number of approvals that each rule
    requires.

    As many rules as possible are met, within MAX_COMBINATIONS, and then as many approvals as possible count.
    Of several such assignments, the result is the one that serves the first rules first. An approval takes at
    most one seat. A rule takes no more approvals than it requires.
    """
    flow = _met(options, required)
    # An augmenting path never lowers what a rule has. Met rules stay met while the others take what is left.
    for rule, most in enumerate(required):
        flow.widen(rule, most)
    return flow.seats()


class _Flow:
    """Flow network from approvals over seats to rules.

    An augmenting path may move an approval to another seat. It never leaves that approval without a seat, or
    a rule with fewer approvals.
    """

    def __init__(self, options: Sequence[Sequence[Seat]]) -> None:
        self._options = options
        self._spare: dict[Node, dict[Node, int]] = defaultdict(dict)
        for number, seats in enumerate(options):
            self._edge(SOURCE, ("approval", number), 1)
            for seat in seats:
                self._edge(("approval", number), ("seat", seat), 1)
                self._edge(("seat", seat), ("rule", seat[0]), 1)

    def _edge(self, from_: Node, to: Node, most: int) -> None:
        self._spare[from_][to] = most
        self._spare[to].setdefault(from_, 0)

    def widen(self, rule: int, most: int) -> int:
        """Let the rule take up to `most` approvals; return how many it has then."""
        node = ("rule", rule)
        taken = self._spare[SINK].get(node, 0)
        self._spare[node][SINK] = most - taken
        self._spare[SINK].setdefault(node, 0)
        while self._augment(SOURCE, {SOURCE}):
            pass
        return self._spare[SINK][node]

    def _augment(self, node: Node, seen: set[Node]) -> bool:
        if node == SINK:
            return True
        for after, spare in self._spare[node].items():
            if spare > 0 and after not in seen:
                seen.add(after)
                if self._augment(after, seen):
                    self._spare[node][after] -= 1
                    self._spare[after][node] += 1
                    return True
        return False

    def seats(self) -> list[Seat | None]:
        """Return the seat of each approval; None where it has none."""
        return [
            next((seat for seat in seats if not self._spare["approval", number]["seat", seat]), None)
            for number, seats in enumerate(self._options)
        ]


def _met(options: Sequence[Sequence[Seat]], required: Sequence[int]) -> _Flow:
    """Return a flow that meets as many rules as can be met together.

    Of sets of equal size it takes the first, in the order of the rules. Past MAX_COMBINATIONS it is greedy:
    rules that require few approvals come first.
    """
    rules = range(len(required))
    alone = [rule for rule in rules if _flow(options, required, (rule,)) is not None]
    sets = (chosen for size in range(len(alone), 0, -1) for chosen in combinations(alone, size))
    possible = (chosen for chosen in sets if sum(required[rule] for rule in chosen) <= len(options))
    for chosen in islice(possible, MAX_COMBINATIONS):
        if (flow := _flow(options, required, chosen)) is not None:
            return flow
    flow = _Flow(options)
    for rule in sorted(alone, key=lambda rule: required[rule]):
        flow.widen(rule, required[rule])
    return flow


def _flow(options: Sequence[Sequence[Seat]], required: Sequence[int], rules: Sequence[int]) -> _Flow | None:
    """Return a flow that meets all those rules; None where there is none."""
    flow = _Flow(options)
    return flow if all(flow.widen(rule, required[rule]) == required[rule] for rule in rules) else None
