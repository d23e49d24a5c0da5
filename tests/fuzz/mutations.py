"""Ways to spoil a document's bytes."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

Spoil = Callable[[bytes], bytes]
CODECS = ("utf-8-sig", "utf-16", "utf-16-be", "utf-32", "latin-1", "utf-7")
TOKENS = (
    *(
        b"",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b'"',
        b"\\",
        b"\0",
        b"\x1b[2J",
        b"\r\n",
        b"//",
        b"'",
        b"null",
        b"true",
        b"{}",
        b"[]",
    ),
    *(
        b"NaN",
        b"-Infinity",
        b"1e400",
        b"-1e400",
        b"-0",
        b"-0.0",
        b"0x10",
        b"1_000",
        b"01",
        b"1e-400",
        b"1.",
        b"9" * 4_300,
        b"9" * 5_000,
    ),
    *(
        b"\xff",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\xe2\x80\xae",
        b"\xf0\x9f\x94\x92",
        b"\\ud800",
        b"\\udc00\\ud800",
        b"\\u0000",
    ),
    *(b"\\u202e", b"\\x41", b"[" * 900, b'{"a":' * 900, b"[" * 100_000, b'{"a":' * 100_000, b"x" * 100_000),
    *(
        b'"source":{},',
        b'"source":null,',
        b'"params":[],',
        b'"pool":"a",',
        b'"action":"release",',
        b'"version":{"timestamp":"0"},',
    ),
)
"""What JSON has no word for, or means something else by where it stands."""


def _splice(place: int, length: int, token: bytes) -> Spoil:
    def spoiled(text: bytes) -> bytes:
        start = place % (len(text) + 1)
        return text[:start] + token + text[start + length :]

    return spoiled


def _flip(place: int, bit: int) -> Spoil:
    def spoiled(text: bytes) -> bytes:
        at = place % max(len(text), 1)
        return text[:at] + bytes([text[at] ^ (1 << bit)]) + text[at + 1 :] if text else text

    return spoiled


def _again(place: int, length: int, times: int) -> Spoil:
    def spoiled(text: bytes) -> bytes:
        start = place % max(len(text), 1)
        return text[: start + length] + text[start : start + length] * times + text[start + length :]

    return spoiled


def _encoded(codec: str) -> Spoil:
    return lambda text: text.decode("utf-8", "replace").encode(codec, "replace")


def _wrapped(depth: int, opening: bytes) -> Spoil:
    closing = b"]" if opening == b"[" else b"}"
    return lambda text: opening * depth + text + closing * depth


place = st.integers(0, 2_000)
spoil = st.one_of(
    st.builds(_splice, place, st.integers(0, 8), st.sampled_from(TOKENS)),
    st.builds(_splice, place, st.integers(0, 8), st.sampled_from(TOKENS)),
    st.builds(_splice, place, st.just(0), st.binary(max_size=8)),
    st.builds(_splice, place, st.integers(1, 100_000), st.just(b"")),
    st.builds(_flip, place, st.integers(0, 7)),
    st.builds(_again, place, st.integers(1, 40), st.sampled_from([1, 2, 50])),
    st.builds(_encoded, st.sampled_from(CODECS)),
    st.builds(_wrapped, st.sampled_from([1, 2, 900, 100_000]), st.sampled_from([b"[", b'{"source":', b'{"params":'])),
)
