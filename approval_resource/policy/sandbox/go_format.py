"""`sprintf`, as Go's fmt does it for OPA. A format that can't be reproduced exactly is refused."""

from __future__ import annotations

import json
import re
from typing import Any

DIRECTIVE = re.compile(r"%(?P<flags>[-+# 0]*)(?P<width>[0-9]*)(?:\.(?P<precision>[0-9]*))?(?P<verb>.)?", re.DOTALL)
VERBS = "%vdsqxXobtfFeEg"
MAX_WIDTH = 1_000
INT64_END = 2**63
EXACT_BELOW = 10**15
ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\", '"': '\\"'}


class UnlikeGoError(ValueError):
    """A format that can't be reproduced as Go does it."""


def sprintf(form: str, given: str, *, nested: bool = False) -> str:
    """Return the formatted text.

    `given`: JSON list of pairs of a type's name and a value. `nested`: whether a set lies within one of the
    values.

    Raises:
        UnlikeGoError: Go might write something else.
    """
    if nested:
        raise UnlikeGoError("a set within a value can't be written as in OPA")
    arguments = [_argument(kind, value) for kind, value in json.loads(given)]
    used = 0
    out: list[str] = []
    at = 0
    for found in DIRECTIVE.finditer(form):
        out.append(form[at : found.start()])
        at = found.end()
        verb = found["verb"]
        if verb is None:
            out.append("%!(NOVERB)")
        elif verb == "%":
            if found.group() != "%%":
                raise UnlikeGoError(f"{found.group()} is not done here")
            out.append("%")
        elif verb in "[*":
            raise UnlikeGoError(f"%{verb} is not done here; give the values in their order")
        elif used >= len(arguments):
            out.append(f"%!{verb}(MISSING)")
        else:
            out.append(_formatted(found, arguments[used]))
            used += 1
    out.append(form[at:])
    if used < len(arguments):
        extra = ", ".join(f"{_type(one)}={_plain(one)}" for one in arguments[used:])
        out.append(f"%!(EXTRA {extra})")
    return "".join(out)


def values(form: str) -> int:
    """Return how many values the format takes."""
    return sum(found["verb"] not in (None, "%") for found in DIRECTIVE.finditer(form))


def refusal(form: str) -> str:
    """Return why the format is refused whatever its values are; empty where it isn't."""
    for found in DIRECTIVE.finditer(form):
        if (found["verb"] is not None and found["verb"] not in VERBS) or "#" in found["flags"]:
            return f"{found.group()} is not done here"
    return ""


def _argument(kind: str, value: Any) -> int | float | str:
    """Return the value as OPA hands it to Go: a number, or text."""
    if kind == "string":
        return str(value)
    if kind == "number":
        if isinstance(value, float) and (value.is_integer() or abs(value) >= EXACT_BELOW):
            raise UnlikeGoError("a number of that size can't be written as in OPA")
        if isinstance(value, int) and not -INT64_END <= value < INT64_END:
            raise UnlikeGoError("a number of that size can't be written as in OPA")
        return int(value) if isinstance(value, int) else float(value)
    if kind == "set":
        return "{" + ", ".join(_term(one) for one in value) + "}" if value else "set()"
    return _term(value)


def _term(value: Any) -> str:
    """Return a value as OPA writes it."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return _quoted(value)
        case list():
            return "[" + ", ".join(_term(one) for one in value) + "]"
        case dict():
            return "{" + ", ".join(f"{_quoted(key)}: {_term(value[key])}" for key in sorted(value)) + "}"
        case _:
            return json.dumps(_argument("number", value))


def _type(value: int | float | str) -> str:
    """Return Go's name of the type, written where a value doesn't fit its verb.

    Whole numbers are refused: their type's name differs between versions of OPA.
    """
    if isinstance(value, int):
        raise UnlikeGoError("a whole number with a verb that is not for it")
    return "float64" if isinstance(value, float) else "string"


def _plain(value: int | float | str) -> str:
    """Return the value as `%v` formats it."""
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else _shortest(value)


def _shortest(value: float) -> str:
    """Return a fraction as `%v` formats it: the fewest digits that identify it.

    Only a fraction below 1e-4 has an exponent, as no number here reaches 1e21.
    """
    text = repr(value)
    if "e" in text:
        digits, _, exponent = text.partition("e")
        return f"{digits}e{int(exponent):+03d}"
    return text


def _formatted(found: re.Match[str], value: int | float | str) -> str:
    flags, verb = found["flags"], str(found["verb"])
    width = int(found["width"] or 0)
    precision = None if found["precision"] is None else int(found["precision"] or 0)
    if width > MAX_WIDTH or (precision or 0) > MAX_WIDTH:
        raise UnlikeGoError(f"a width above {MAX_WIDTH}")
    if "#" in flags or (" " in flags and verb != "d"):
        raise UnlikeGoError(f"the flags of %{flags}{verb}")
    match verb, value:
        case ("d", int()):
            if precision is not None:
                raise UnlikeGoError("a precision for %d")
            return _padded(_signed(str(abs(value)), value < 0, flags), width, flags, number=True)
        case ("v", int()):
            if precision is not None:
                raise UnlikeGoError("a precision for %v of a number")
            return _padded(_signed(str(abs(value)), value < 0, flags), width, flags, number=True)
        case ("x" | "X" | "o" | "b", int()):
            if precision is not None:
                raise UnlikeGoError(f"a precision for %{verb}")
            return _padded(_signed(format(abs(value), verb), value < 0, flags), width, flags, number=True)
        case ("f" | "F" | "e" | "E", float()):
            digits = format(abs(value), f".{6 if precision is None else precision}{verb}")
            return _padded(_signed(digits, value < 0, flags), width, flags, number=True)
        case ("v" | "g", float()) if precision is None:
            return _padded(_signed(_shortest(abs(value)), value < 0, flags), width, flags, number=True)
        case (_, str()) if "+" in flags:
            raise UnlikeGoError(f"{found.group()} of a text is not done here")
        case ("s" | "v", str()):
            return _padded(value if precision is None else value[:precision], width, flags, number=False)
        case ("q", str()):
            return _padded(_quoted(value if precision is None else value[:precision]), width, flags, number=False)
        case ("x" | "X", str()) if precision is None:
            digits = value.encode().hex()
            return _padded(digits.upper() if verb == "X" else digits, width, flags, number=False)
        case ("d" | "t" | "f" | "F" | "e" | "E" | "g" | "s" | "o" | "b", _) if not flags and not width and precision is None:
            return f"%!{verb}({_type(value)}={_plain(value)})"
    raise UnlikeGoError(f"{found.group()} of a {'text' if isinstance(value, str) else 'number'} is not done here")


def _signed(digits: str, negative: bool, flags: str) -> str:
    return ("-" if negative else "+" if "+" in flags else " " if " " in flags else "") + digits


def _padded(text: str, width: int, flags: str, *, number: bool) -> str:
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags:
        if not number:
            raise UnlikeGoError("zeros before a text")
        return text.zfill(width) if text[:1] != " " else " " + text[1:].zfill(width - 1)
    return text.rjust(width)


def _quoted(text: str) -> str:
    out = []
    for char in text:
        if char in ESCAPES:
            out.append(ESCAPES[char])
        elif char.isprintable():
            out.append(char)
        elif ord(char) < 0x80:
            out.append(f"\\x{ord(char):02x}")
        else:
            raise UnlikeGoError("a character that can't be printed")
    return '"' + "".join(out) + '"'
