"""What a Rego text reaches, by whatever name: facts that nobody gave, people whom nobody knows, paths that can't be."""

from __future__ import annotations

from typing import Any

import pytest

from tests.policy.asking import answer, approval, asked, findings, policy, rejection, run_input, says, warnings, why

HEAD = "package spacelift\n"
ANNA, BEN = (f"aws:arn:aws:iam::111122223333:user/{name}" for name in ("anna", "ben"))
PEOPLE = {"anna": [ANNA, "concourse:anna"], "ben": [BEN]}

FOLLOWED = {
    "a path": 'bad if "x" in input.stack.labels',
    "brackets": 'bad if input["stack"]["labels"][_] == "x"',
    "a loop's variable": 'bad if { some i; input.stack.labels[i] == "x" }',
    "a key in a rule": 'key := "labels"\nbad if "x" in input.stack[key]',
    "a key in a variable": 'bad if { k := "labels"; input.stack[k][_] == "x" }',
    "a key in a list": 'bad if { some k in ["labels"]; "x" in input.stack[k] }',
    "a key in a set": 'keys := {"labels"}\nbad if { some k in keys; "x" in input.stack[k] }',
    "a key in a set of a rule": 'keys contains "labels"\nbad if { keys[k]; "x" in input.stack[k] }',
    "object.get": 'bad if "x" in object.get(input.stack, "labels", [])',
    "object.get by a list": 'bad if "x" in object.get(input, ["stack", "labels"], [])',
    "an alias": 'bad if { s := input.stack; "x" in s.labels }',
    "a unified alias": 'bad if { s = input.stack; "x" in s.labels }',
    "a rule": 's := input.stack\nbad if "x" in s.labels',
    "a rule by its full name": 's := input.stack\nbad if "x" in data.spacelift.s.labels',
    "an import": 'import input.stack as s\nbad if "x" in s.labels',
    "an import of all": 'import input as i\nbad if "x" in i.stack.labels',
    "a function's result": 'f(x) := x.labels\nbad if "x" in f(input.stack)',
    "two functions": 'g(x) := x.stack\nf(x) := g(x).labels\nbad if "x" in f(input)',
    "a function's argument": 'f(s) if "x" in s.labels\nbad if f(input.stack)',
    "a comprehension": 'ls := {l | some l in input.stack.labels}\nbad if "x" in ls',
    "an object": 'o := {"a": input.stack}\nbad if "x" in o.a.labels',
    "an object's comprehension": 'o := {k: v | some k in ["y"]; v := input.stack}\nbad if "x" in o.y.labels',
    "a list": 'bad if "x" in [input.stack][0].labels',
    "a list that is taken apart": 'bad if { [a, _] := [input.stack, 1]; "x" in a.labels }',
    "every": 'ok if every l in input.stack.labels { l != "x" }\nbad if not ok',
    "a count": 'bad if count([1 | input.stack.labels[_] == "x"]) > 0',
    "else": 'bad if false else if "x" in input.stack.labels',
    "a set of a rule": 'bads contains l if { some l in input.stack.labels; l == "x" }\nbad if count(bads) > 0',
    "a default": 'default bad := false\nbad if "x" in input.stack.labels',
    "a union": 'bad if "x" in ({l | some l in input.stack.labels} | {"y"})',
    "array.concat": 'bad if "x" in array.concat(input.stack.labels, [])',
    "object.filter": 'bad if "x" in object.filter(input.stack, ["labels"]).labels',
    "object.union": 'bad if "x" in object.union({}, {"labels": input.stack.labels}).labels',
    "a joined text": 'bad if contains(concat(",", input.stack.labels), "x")',
}
"""Ways to ask for stack.labels that can be followed, each with one that is bad."""
LOST = {
    "a computed key": 'bad if "x" in input.stack[lower("LABELS")]',
    "a computed first key": 'bad if "x" in input[lower("STACK")].labels',
    "walk": 'bad if { walk(input.stack, [_, "x"]) }',
    "json.marshal": 'bad if contains(json.marshal(input.stack), "x")',
    "there and back": 'bad if "x" in json.unmarshal(json.marshal(input.stack)).labels',
    "each part": 'bad if "x" in input.stack[_]',
    "each key": 'bad if { some k, v in input.stack; k == "labels"; "x" in v }',
    "object.keys": 'bad if { some k in object.keys(input.stack); "x" in input.stack[k] }',
    "a comparison of all": 'bad if input.stack == {"labels": ["x"]}',
    "object.get by a computed key": 'bad if { k := lower("LABELS"); "x" in object.get(input.stack, k, []) }',
    "object.get by a computed list": 'bad if { p := ["stack", lower("LABELS")]; "x" in object.get(input, p, []) }',
    "a rule's answer as the key": 'k := x if { x := lower("LABELS") }\nbad if "x" in input.stack[k]',
}
"""Ways to ask for it that can't."""
ALL = FOLLOWED | LOST


def text_of(form: str, rule: str = "approve if not bad") -> str:
    """A policy in v1 that approves where nothing is bad."""
    lines = form.split("\n")
    imports = [line for line in lines if line.startswith("import")]
    return "\n".join([HEAD, *imports, *(line for line in lines if line not in imports), rule, ""])


# ---- facts that nobody gave ---------------------------------------------------------


@pytest.mark.parametrize("way", FOLLOWED)
def test_an_approval_by_a_fact_that_nobody_gave_is_an_error_that_names_it(way: str) -> None:
    """By whatever way it is asked for; where it is given, the policy answers as in Spacelift."""
    one = policy(rego=text_of(FOLLOWED[way]))
    decision = asked(one)
    assert decision.result.answer.value == "error"
    assert "give stack.labels" in why(decision)
    assert answer(one, given={"stack": {"labels": []}}) == "approve"
    assert answer(one, given={"stack": {"labels": ["dev"]}}) == "approve"
    assert answer(one, given={"stack": {"labels": ["x"]}}) == "undecided"


@pytest.mark.parametrize("way", LOST)
def test_what_cant_be_followed_reaches_everything_there(way: str) -> None:
    """It approves nothing by itself, whatever is given: what isn't there may be what was asked for."""
    one = policy(rego=text_of(LOST[way]))
    assert answer(one) == "error"
    assert answer(one, given={"stack": {"labels": ["dev"]}}) == "error"


@pytest.mark.parametrize("way", ALL)
def test_a_whole_input_document_is_given_whole(way: str) -> None:
    """Where nothing else can be given, a policy answers as in Spacelift; only what it names and isn't there is missed."""
    text = text_of(ALL[way])
    assert says(text, run_input()) == "approve"
    assert says(text, {**run_input(), "stack": {**run_input()["stack"], "labels": ["x"]}}) in ("undecided", "approve")


V0 = {
    "a path": 'bad { input.stack.labels[_] == "x" }',
    "a helper that is no function": 'labelled { input.stack.labels[_] == "x" }\nbad { labelled }',
    "a set": 'bads[l] { l := input.stack.labels[_]; l == "x" }\nbad { count(bads) > 0 }',
    "a function": 'f(s) = l { l := s.labels }\nbad { f(input.stack)[_] == "x" }',
    "a set that is asked for a member": 'guarded := {"x"}\nbad { guarded[input.stack.labels[_]] }',
    "a unified variable": 'bad { some i; l = input.stack.labels[i]; l == "x" }',
}


@pytest.mark.parametrize("way", V0)
def test_the_same_holds_in_rego_v0(way: str) -> None:
    """The other syntax, the same promise."""
    one = policy(rego=HEAD + V0[way] + "\napprove { not bad }\n")
    assert "give stack.labels" in why(asked(one))
    assert answer(one, given={"stack": {"labels": ["dev"]}}) == "approve"
    assert answer(one, given={"stack": {"labels": ["x"]}}) == "undecided"


PLACES = [
    "run.type",
    "run.flags",
    "run.changes",
    "run.branch",
    "run.command",
    "run.commit.message",
    "stack.labels",
    "stack.autodeploy",
]
PLACES += ["stack.worker_pool.public", "frozen", "freeze.until", "plan.resources", "run.mine", "build.mine", "stack.space.id"]


def nested(path: str, value: object) -> dict[str, Any]:
    """A document with that value at that path."""
    found: object = value
    for step in reversed(path.split(".")):
        found = {step: found}
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("value", [None, False, [], "", 0], ids=repr)
@pytest.mark.parametrize("path", PLACES)
@pytest.mark.long
def test_every_fact_has_to_be_given_even_if_as_nothing(path: str, value: object) -> None:
    """Null, false and an empty list say that there is nothing; silence says nothing."""
    one = policy(rego=f'{HEAD}approve if not "bad" == input.{path}\n')
    assert why(asked(one)).endswith(f"give {path}")
    assert answer(one, given=nested(path, value)) == "approve"


@pytest.mark.parametrize(
    "rules",
    [
        "approve if true\nreject if input.frozen",
        "approve if count(input.reviews.current.approvals) >= 0\nreject if input.frozen",
        'approve_with_note contains "fine" if not input.frozen',
        "ok if not input.frozen\napprove if ok",
        "default approve := true\napprove := false if input.frozen",
        "approve if count([1 | input.frozen]) == 0",
        "approve if not input.frozen\nreject if count(input.reviews.current.rejections) > 0",
    ],
)
def test_an_approval_that_silence_gives_is_an_error_in_every_shape(rules: str) -> None:
    """A rejection that silence prevents is the same as an approval that it gives."""
    one = policy(rego=f"{HEAD}{rules}\n")
    assert "give frozen" in why(asked(one))
    assert answer(one, given={"frozen": False}) == "approve"


def test_an_approval_that_doesnt_matter_changes_nothing() -> None:
    """What a stranger says who is in no team is no reason to approve; what the team says is."""
    text = f'{HEAD}approve if not input.frozen\napprove if input.reviews.current.approvals[_].session.teams[_] == "sec"\n'
    one = policy(rego=text, groups={"sec": ["anna"]}, people=PEOPLE)
    assert answer(one, approval(BEN)) == "error"
    assert answer(one, approval(ANNA)) == "approve"
    assert answer(one, approval(BEN), given={"frozen": False}) == "approve"


@pytest.mark.parametrize(
    "rules",
    [
        "approve if not prod\napprove if { prod; some_yes }",
        "approve if not prod\napprove if some_yes",
        "approve if { not prod; not huge }\napprove if some_yes\nhuge if input.plan.huge",
        "approve if ok\nok if not prod\nok if some_yes",
    ],
)
def test_an_approval_that_stands_whatever_the_facts_are_is_one(rules: str) -> None:
    """Where one is needed in production only, and given, it doesn't matter whether this is production."""
    text = (
        f'{HEAD}prod if "production" in input.stack.labels\nsome_yes if count(input.reviews.current.approvals) > 0\n{rules}\n'
    )
    assert answer(policy(rego=text)) == "error"
    assert answer(policy(rego=text), approval(BEN)) == "approve"
    two = text.replace("> 0", "> 1")
    assert answer(policy(rego=two), approval(BEN)) == "error"


def test_an_approval_that_needs_somebody_needs_no_facts() -> None:
    """Somebody is asked, and says yes."""
    one = policy(rego=f"{HEAD}approve if {{ not input.frozen; count(input.reviews.current.approvals) > 0 }}\n")
    assert answer(one) == "undecided"
    assert answer(one, approval(BEN)) == "approve"


def test_one_rule_that_is_fit_is_enough() -> None:
    """Another that rests on what isn't there takes nothing from it."""
    text = f'{HEAD}approve if input.run.type == "TASK"\napprove if not input.frozen\n'
    assert answer(policy(rego=text), given={"run": {"type": "TASK"}}) == "approve"
    assert answer(policy(rego=text), given={"run": {"type": "TRACKED"}}) == "error"


def test_a_rejection_rests_on_nothing() -> None:
    """Whatever wasn't given."""
    text = f"{HEAD}approve if not input.frozen\nreject if count(input.reviews.current.rejections) > 0\n"
    assert answer(policy(rego=text), rejection(BEN)) == "reject"


def test_what_a_plan_leaves_out_is_not_there() -> None:
    """An entity's attributes differ by its type; the rest of a change has to be given where it is asked for."""
    text = f'{HEAD}bad if input.run.changes[_].entity.data.values.acl == "public"\napprove if not bad\n'

    def decided(**entity: Any) -> str:
        return answer(policy(rego=text), given={"run": {"changes": [{"action": "added", "entity": entity}]}})

    assert decided(data={"values": {}}) == "approve"
    assert decided(data={"values": {"acl": "public"}}) == "undecided"
    assert decided(type="aws_s3_bucket") == "error"


@pytest.mark.parametrize("way", ALL)
def test_lint_warns_of_it(way: str) -> None:
    """With the line of the rule that approves, and the facts to give."""
    text = text_of(ALL[way])
    told = [one for one in warnings(text) if "approves by itself" in one]
    assert told
    assert "stack" in told[0] or "input" in told[0]
    assert told[0].startswith(f"policy.rego:{text.rstrip().count(chr(10)) + 1}:")


# ---- people whom nobody knows -------------------------------------------------------

STARTERS = {
    "triggered_by": "starter := input.run.triggered_by",
    "triggered_by, or nobody": 'starter := object.get(input.run, "triggered_by", "")',
    "by a list": 'starter := object.get(input, ["run", "triggered_by"], "")',
    "by a key": 'k := "triggered_by"\nstarter := input.run[k]',
    "the session": "starter := input.run.creator_session.login",
    "the session, or nobody": 'starter := object.get(object.get(input.run, "creator_session", {}), "login", "")',
    "through an alias": "r := input.run\nstarter := r.creator_session.login",
    "through a function": 'f(x) := object.get(x, "triggered_by", "")\nstarter := f(input.run)',
    "the claim": 'starter := object.get(input.claim, "requester", "")',
    "the build": 'starter := object.get(input.build, "created_by", "")',
}
"""Ways to ask who started a build, which Concourse fills."""
UNKNOWN = {
    "a computed key": 'starter := object.get(input.run, concat("_", ["triggered", "by"]), "")',
    "each part": 'starters := {v | some k, v in input.run; k == "triggered_by"}\nstarter := object.get({1: starters}, 1, "")',
    "the commit": 'starter := object.get(input.run.commit, "author", "")',
    "the commit, by a list": 'starter := object.get(input.run, ["commit", "author"], "")',
    "the lock": 'starter := object.get(input.stack, "locked_by", "")',
    "a fact of that name": 'starter := object.get(input, "requester", "")',
    "text of it all": "starter := json.marshal(input.run)",
}
"""Ways that nothing here can fill."""
OTHERS = {
    "unequal": "approve if { some a in input.reviews.current.approvals; a.author != starter }",
    "not equal": "approve if { some a in input.reviews.current.approvals; not a.author == starter }",
    "a set of others": "others contains a.author if { some a in input.reviews.current.approvals; a.author != starter }\n"
    "approve if count(others) > 0",
    "every": "approve if { count(input.reviews.current.approvals) > 0; "
    "every a in input.reviews.current.approvals { a.author != starter } }",
}
FORGED = {
    "requester": "zed",
    "run": {"triggered_by": "zed", "creator_session": {"login": "zed"}, "commit": {"author": "zed", "message": "m"}},
    "stack": {"locked_by": "zed"},
    "claim": {"requester": "zed"},
    "build": {"created_by": "zed"},
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("way", STARTERS)
@pytest.mark.long
def test_who_started_it_is_what_concourse_says(way: str, other: str) -> None:
    """No pipeline tells it, nobody approves their own build by it, and where nobody knows nothing is approved."""
    one = policy(rego=f"{HEAD}{STARTERS[way]}\n{OTHERS[other]}\n", people=PEOPLE)
    for given in ({}, FORGED):
        assert answer(one, approval(BEN), requester="anna", given=given) == "approve"
        assert answer(one, approval(ANNA), requester="anna", given=given) == "undecided"
        assert answer(one, approval("typed:ben"), requester="anna", given=given) == "undecided"
        assert answer(one, approval(BEN), given=given) in ("undecided", "error")
        assert answer(one, approval("typed:ben"), given=given) == "undecided"


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("way", UNKNOWN)
@pytest.mark.long
def test_who_it_is_that_nobody_here_can_tell_fails_closed(way: str, other: str) -> None:
    """A pipeline that tells it all the same is not believed."""
    one = policy(rego=f"{HEAD}{UNKNOWN[way]}\n{OTHERS[other]}\n", people=PEOPLE)
    for requester in ("", "anna"):
        for who in (ANNA, BEN, "typed:ben"):
            assert answer(one, approval(who), requester=requester, given=FORGED) != "approve"


@pytest.mark.parametrize(
    "rule",
    [
        "approve if input.reviews.current.approvals != []",
        'approve if { some a in input.reviews.current.approvals; contains(json.marshal(a), "ben") }',
        'approve if { object.get(input.run, "creator_session", null) != null; count(input.reviews.current.approvals) > 0 }',
    ],
)
def test_all_of_a_review_or_a_session_is_not_its_address(rule: str) -> None:
    """Nobody knows addresses; who asks for one by name approves nothing, and everybody else may take the rest."""
    assert answer(policy(rego=f"{HEAD}{rule}\n", people=PEOPLE), approval(BEN), requester="anna") == "approve"
    by_address = f"{HEAD}approve if {{ some a in input.reviews.current.approvals; not a.request.remote_ip == input.bad }}\n"
    assert answer(policy(rego=by_address), approval(BEN), requester="anna", given={"bad": "1"}) == "error"


def test_a_rule_that_asks_for_nobody_still_approves() -> None:
    """What another rule asks for is no reason to keep this one shut."""
    text = (
        f'{HEAD}approve if startswith(input.run.triggered_by, "bot/")\napprove if count(input.reviews.current.approvals) > 1\n'
    )
    assert answer(policy(rego=text), approval(ANNA), approval(BEN)) == "approve"


# ---- paths that can't be ---------------------------------------------------------------

MISSPELT = {
    "[_]": 'approve if input.reviews.current.approvals[_].sesion.teams[_] == "x"',
    "some in": 'approve if { some a in input.reviews.current.approvals; "x" in a.sesion.teams }',
    "some with a key": 'approve if { some i, a in input.reviews.current.approvals; "x" in a.sesion.teams }',
    "every": 'approve if { every a in input.reviews.current.approvals { "x" in a.sesion.teams } }',
    "a set's comprehension": "approve if count({t | some a in input.reviews.current.approvals; t := a.sesion.teams}) > 0",
    "a list's comprehension": 'all := [a | some a in input.reviews.current.approvals]\napprove if all[_].sesion.teams[_] == "x"',
    "an object's comprehension": 'by := {a.author: a | some a in input.reviews.current.approvals}\napprove if "x" in by["b"].sesion.teams',
    "a function": 'led(r) if "x" in r.sesion.teams\napprove if { some a in input.reviews.current.approvals; led(a) }',
    "a function's result": 'first(rs) := rs[0]\napprove if "x" in first(input.reviews.current.approvals).sesion.teams',
    "an alias": 'approve if { c := input.reviews.current; "x" in c.approvals[_].sesion.teams }',
    "a rule": 'ours := input.reviews.current.approvals\napprove if "x" in ours[_].sesion.teams',
    "a set of a rule": 'ours contains a if some a in input.reviews.current.approvals\napprove if { some a in ours; "x" in a.sesion.teams }',
    "an import": 'import input.reviews.current as c\napprove if "x" in c.approvals[_].sesion.teams',
    "not": 'approve if { some a in input.reviews.current.approvals; not "x" in a.sesion.teams }',
    "object.get": 'approve if { some a in input.reviews.current.approvals; "x" in object.get(a, ["sesion", "teams"], []) }',
    "a built list": 'approve if "x" in array.concat(input.reviews.current.approvals, input.reviews.older)[_].sesion.teams',
    "a reject": 'approve if true\nreject if { some a in input.reviews.current.rejections; a.sesion.login == "x" }',
    "a note": "approve_with_note contains a.sesion.login if some a in input.reviews.current.approvals",
}


@pytest.mark.parametrize("way", MISSPELT)
def test_a_misspelt_path_is_told_by_whatever_name_it_goes(way: str) -> None:
    """As behind `[_]`: it is an error, and the right name is told."""
    text = text_of(MISSPELT[way], "")
    told = [str(one) for one in findings(text, "p.rego") if one.error]
    assert any("sesion does not exist; did you mean session?" in one for one in told), told
    assert [str(one) for one in findings(text.replace("sesion", "session"), "p.rego") if one.error] == []


@pytest.mark.parametrize(
    "body",
    [
        'input.claim[lower("ID")] == "x"',
        "walk(input.reviews, [_, v]); v.login",
        "json.unmarshal(json.marshal(input.claim)).id",
        'p := [x | some x in ["id"]]; object.get(input.claim, p, "") == "x"',
        'some k in object.keys(input.pool); input.pool[k] == "x"',
    ],
)
def test_what_lint_cant_follow_is_told_as_not_checked(body: str) -> None:
    """With its line."""
    told = warnings(f"{HEAD}\napprove if {{\n  count(input.reviews.current.approvals) > 0\n  {body}\n}}\n")
    assert any(one.startswith("policy.rego:5:") and "not checked" in one for one in told), told


# ---- approvals that rest on nothing --------------------------------------------------

RESTS_ON_NOTHING = {
    "true": "approve if true",
    "a comparison of constants": "approve if 1 == 1",
    "a negation": "approve if not false",
    "another rule": "ok if true\napprove if ok",
    "no rejection": "approve if count(input.reviews.current.rejections) == 0",
    "not rejected": "reject if some r in input.reviews.current.rejections\napprove if not reject",
    "there being an input": "approve if input",
}
RESTS_ON_SOMETHING = {
    "an approval": "approve if count(input.reviews.current.approvals) > 0",
    "an approval, through a name": "r := input.reviews\napprove if count(r.current.approvals) > 0",
    "a fact that is there": 'approve if input.claim.lock_name == "deploy"',
    "a fact and no rejection": 'approve if { input.claim.pool == "a"; not reject }\nreject if input.reviews.current.rejections[_]',
    "nothing, and never approves": "default approve := false",
}


@pytest.mark.parametrize("way", [*RESTS_ON_NOTHING, *RESTS_ON_SOMETHING])
def test_lint_warns_of_an_approval_that_rests_on_nothing(way: str) -> None:
    """A text that asks nobody and knows nothing opens every gate at once; its author is told, and nobody else."""
    texts = RESTS_ON_NOTHING | RESTS_ON_SOMETHING
    told = [one for one in warnings(f"{HEAD}{texts[way]}\n") if "on no fact" in one]
    assert bool(told) == (way in RESTS_ON_NOTHING)
