"""Characters that nobody sees make no two names alike, and patterns end where they say."""

from __future__ import annotations

import ast
import re
import sys
import unicodedata
from pathlib import Path

import pytest

from approval_resource import strict_options
from approval_resource.steps import protocol, put_params
from approval_resource.strict_options import WrongError
from approval_resource.text import IGNORABLE, clean, visible

PACKAGE = Path(strict_options.__file__).parent
IGNORED = {chr(point) for first, last in IGNORABLE for point in range(first, last + 1)}
OF_OTHER_LANGUAGES = ("policy/sandbox/functions.py", "policy/language/load.py")
"""Rego's patterns, and YAML's for values that are one line: their `$` is the end, or the line's."""


def by_definition(character: str) -> bool:
    """Unicode's definition of the property, by names and categories.

    Other_Default_Ignorable_Code_Point + Cf + Variation_Selector - White_Space - FFF9..FFFB - 13430..1343F
    - Prepended_Concatenation_Mark. Reserved code points are in it by range, and so not told by a name.
    """
    name, point = unicodedata.name(character, ""), ord(character)
    if unicodedata.category(character) == "Cf":
        prepended = point in (*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD)
        return not (prepended or 0xFFF9 <= point <= 0xFFFB or 0x13430 <= point <= 0x1345F)
    listed = ("COMBINING GRAPHEME JOINER", "KHMER VOWEL INHERENT", "HANGUL CHOSEONG FILLER", "HANGUL JUNGSEONG FILLER",
              "HANGUL FILLER", "HALFWIDTH HANGUL FILLER")  # fmt: skip
    return "VARIATION SELECTOR" in name or any(name.startswith(one) for one in listed)


def test_the_table_of_invisible_characters_is_unicode_s() -> None:
    """Every assigned character that the definition names is in it, and it has no other that is assigned."""
    assigned = {chr(point) for point in range(sys.maxunicode + 1) if unicodedata.category(chr(point)) not in ("Cn", "Cs", "Co")}
    assert {c for c in assigned if by_definition(c)} == IGNORED & assigned
    assert {"\ufe0f", "\u034f", "\u3164", "\u200b", "\U000e0100"} <= IGNORED


@pytest.mark.parametrize("character", [*sorted(c for c in IGNORED if ord(c) < 0x10000), "\U000e0100", "\U000e0041"])
def test_names_that_differ_in_what_nobody_sees_are_refused_or_shown_apart(character: str) -> None:
    """As the name of a lock, a pool or a person; a name that was set elsewhere is shown with an escape."""
    for name in (f"ana{character}", f"a{character}na", f"{character}ana"):
        with pytest.raises(WrongError):
            strict_options.name(name)
        assert clean(name) == "ana"
        assert visible(name) != "ana"
        assert visible(name) == clean(visible(name))
    assert visible(f"ana{character}") != visible(f"a{character}na")
    assert visible("aws:arn:aws:sts::1:assumed-role/dev/ana é") == "aws:arn:aws:sts::1:assumed-role/dev/ana é"


READERS = {
    "source.role_arn": (protocol._role, "arn:aws:iam::123456789012:role/approvals"),
    "source.external_id": (protocol._external_id, "abc"),
    "source.role_session_name": (protocol._session_name, "abc"),
    "source.table": (protocol._table, "table"),
    "source.approve_job": (protocol._job, "approve"),
    "params.lock_name": (strict_options.numbered_name, "deploy"),
}


@pytest.mark.parametrize("reader", READERS)
def test_no_name_ends_in_a_newline(reader: str) -> None:
    """Python's `$` matches before a newline at the end; no option is read so."""
    read, value = READERS[reader]
    for end in ("\n", "\r\n", "\n\n"):
        with pytest.raises(WrongError):
            read(f"{value}{end}")


def test_an_input_s_name_ends_in_no_newline() -> None:
    """It becomes a file's name and a key."""
    from approval_resource.policy.language.document import Input

    assert Input(name="region").name == "region"
    for name in ("region\n", "region\r", "\nregion"):
        with pytest.raises(ValueError, match="pattern"):
            Input(name=name)


def patterns(path: Path) -> list[str]:
    """What is wrong with the patterns of a module: an end that a newline may follow, or a match of a beginning."""
    wrong = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called == "re.match":
            wrong.append(f"line {node.lineno}: {called}")
        if called in ("re.compile", "re.search", "re.fullmatch", "Field", "options.matching", "matching"):
            given = [*node.args[:1], *(word.value for word in node.keywords if word.arg == "pattern")]
            texts = [one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            wrong += [f"line {node.lineno}: {text}" for text in texts if re.search(r"(?<!\\)\$", text)]
    return wrong


def test_no_pattern_leaves_its_end_open() -> None:
    """A pattern is matched as a whole, or says where it ends by \\Z."""
    modules = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
    wrong = {name: found for name, path in modules.items() if name not in OF_OTHER_LANGUAGES and (found := patterns(path))}
    assert wrong == {}


def test_every_list_that_decides_refuses_to_be_empty() -> None:
    """Whichever options there are: [] is no policy, no rule and no state. A role and a certificate may be a variable's none."""
    taken = []
    for model in (protocol.Source, *dict.fromkeys(put_params.ACTIONS.values())):
        for called, option in strict_options.named_options(model).items():
            try:
                option.metadata["read"]([])
            except WrongError:
                continue
            taken.append(f"{model.__name__}.{called}")
    assert taken == ["Source.role_arn", "Source.ca_certs"]
