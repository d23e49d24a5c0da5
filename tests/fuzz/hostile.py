"""Values nobody would think of: names, numbers, spans, paths and any JSON."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Values = st.SearchStrategy[Any]

HALF = "\ud800"
"""Half a surrogate pair, which JSON can write and UTF-8 can't."""
TEXTS = (
    *(
        "",
        " ",
        " a",
        "a b",
        "a\tb",
        "a\nb",
        "a\0b",
        "\x1b[2J\x1b]0;x\x07",
        "\r",
        "\x85",
        "\u2028",
        "\u202e",
        "\ufeff",
        "\u200d",
    ),
    *(
        "/",
        "a/b",
        "../..",
        ".",
        "..",
        "#",
        "a#b",
        "pool#a#lock#b",
        "%2F",
        "%",
        "%s%n",
        "{0}",
        "((a))",
        "$(id)",
        "'; --",
        "\\u0000",
    ),
    *(
        "-",
        "--help",
        "-h",
        "--",
        "null",
        "true",
        "NaN",
        "0",
        "-1",
        "1e400",
        "claim",
        "\u0378",
        "\ue000",
        "e\u0301",
        "日本",
        "🔒",
    ),
    *("👩\u200d👧", "🔒" * 40, "🔒" * 125, "🔒" * 500, "ü" * 160, "x" * 499, "x" * 500, "x" * 501, "/" * 330),
    *("x" * 2_000, "x" * 2_001, "x" * 10_000, "🔒" * 10_000, "a@b.example " * 100),
    HALF,
)
"""Names and prose with what breaks keys, terminals, options and limits."""
NUMBERS = (0, -0.0, 1, -1, 7, 0.1, 1e-7, 5e-324, 1e308, 2**53 + 1, 2**63, 2**64 + 1, 10**400, -(10**4299))
"""Numbers at the ends of what floats, DynamoDB and Python hold."""


def mostly(usual: Values, *rare: Values, one_in: int = 8) -> Values:
    """The usual, and one time in so many one of the rare."""
    return st.integers(1, one_in).flatmap(lambda turn: st.one_of(*rare) if turn == one_in else usual)


def word(text: str) -> str:
    """The same as an argument or a variable of a process can be: bytes, none of them NUL."""
    return text.replace("\0", "").replace(HALF, "")


text = st.sampled_from(TEXTS) | st.text(max_size=12)
number = st.sampled_from(NUMBERS) | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
flag = st.sampled_from([True, False, True, False, "true", "False", " TRUE "])
SPANS = (1, 0.5, "90m", "1h30m", "45s", "1.5h", "366d", "1s")
NO_SPANS = (
    *("367d", "0.9s", "0", "-1", "1e9", "1e-400", "1e999999999", "sNaN", "9" * 5_000, "9" * 5_000 + "s", "٣m", "1h 30m", "m"),
    *(True, 10**400),
)
span = mostly(st.sampled_from(SPANS), st.sampled_from(NO_SPANS), one_in=4)
pace = mostly(st.sampled_from([0.05, 1, 1.5, 3600]), number, one_in=4)
priority = mostly(st.integers(-2, 2), number, one_in=4)
FILES = (
    "plan.txt",
    "./plan.txt",
    "dir/../plan.txt",
    "full.bin",
    "over.bin",
    "empty",
    "payload.json",
    "odd.json",
    "naïve 🔒.txt",
)
"""Files of the workspace; see `furnish`."""
NO_FILES = (
    *(
        "",
        ".",
        "..",
        "dir",
        "loop",
        "pipe",
        "odd",
        "gate",
        "gate/id",
        "../x",
        "../../etc/passwd",
        "/etc/passwd",
        "a\0b",
        "no such",
    ),
    *("x" * 255, "x" * 300, "x/" * 3_000, "\x1b[2J", "🔒" * 64, "~", "plan.txt/", "plan.txt/x", "/dev/zero", "/proc/self/mem"),
)
path = st.sampled_from(FILES) | st.sampled_from(NO_FILES)
FILE_NAMES = ("plan.txt", "b", "🔒" * 50, "🔒" * 51, "../plan", "a/b", ".", "..", "", "x" * 200, "x" * 201, "a\nb", "#")
file_name = st.sampled_from(FILE_NAMES)
name = mostly(st.sampled_from(["a", "b", "ünï/#% 🔒"]), st.sampled_from(TEXTS), one_in=4)
leaf = st.none() | st.booleans() | number | text
junk = st.recursive(leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=6)
"""Any JSON."""
payload = st.dictionaries(text, junk, max_size=3) | st.sampled_from(
    [{}, {"fill": "x" * 349_000}, {"fill": "🔒" * 29_000}, {"fill": "x" * 350_000}, {"n": 10**4_000}]
)
printable = mostly(text.map(word), st.binary(max_size=8).map(lambda raw: word(raw.decode("utf-8", "surrogateescape"))))
"""What a process may be given."""
