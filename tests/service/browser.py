"""A browser without a screen: cookies, redirects and forms, and the headers that browsers add by themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import urllib3


@dataclass
class Answer:
    """One answer of a server."""

    url: str
    status: int
    headers: urllib3.HTTPHeaderDict
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def forms(self) -> list[Form]:
        """The forms of the page."""
        reader = _Forms()
        reader.feed(self.text)
        return reader.found

    def form(self, action: str) -> Form:
        """The one form whose action ends so."""
        found = [form for form in self.forms() if form.action.endswith(action)]
        assert len(found) == 1, (action, [form.action for form in self.forms()], self.text[:3000])
        return found[0]


def words(page: Answer) -> str:
    """The page's text as people read it: no markup, one blank between two words."""
    body = page.text.partition("<main")[2].partition(">")[2].partition("</main>")[0]
    within_a_line = re.sub(r"</?(?:a|span|strong|time|code)\b[^>]*>", "", body)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", within_a_line)).split())


@dataclass
class Form:
    """A form with the values that it has by itself."""

    action: str
    fields: dict[str, str]
    buttons: list[tuple[str, str]]


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.found.append(Form(given.get("action", ""), {}, []))
        elif self.found and tag == "input" and given.get("type") not in ("checkbox", "radio") and "name" in given:
            self.found[-1].fields[given["name"]] = given.get("value", "")
        elif self.found and tag == "button" and "name" in given:
            self.found[-1].buttons.append((given["name"], given.get("value", "")))


class Browser:
    """One person's browser."""

    def __init__(self, home: str) -> None:
        self.home = home
        self.pool = urllib3.PoolManager(retries=False, timeout=20)
        self.cookies: dict[str, dict[str, str]] = {}

    def close(self) -> None:
        self.pool.clear()

    def send(self, method: str, url: str, *, body: bytes | str | Iterator[bytes] | None = None, **headers: str) -> Answer:
        """One request, with the cookies of its host, and no redirect followed."""
        url = urljoin(self.home, url)
        host = urlsplit(url).netloc
        given = {name.replace("_", "-"): value for name, value in headers.items() if value}
        if jar := self.cookies.get(host):
            given.setdefault("Cookie", "; ".join(f"{name}={value}" for name, value in jar.items()))
        found = self.pool.request(method, url, body=body, headers=given, redirect=False)
        for line in found.headers.getlist("set-cookie"):
            for name, morsel in SimpleCookie(line).items():
                jar = self.cookies.setdefault(host, {})
                if morsel["max-age"] == "0":
                    jar.pop(name, None)
                else:
                    jar[name] = morsel.value
        return Answer(url, found.status, found.headers, found.data)

    def go(self, url: str, **headers: str) -> Answer:
        """A page, after all redirects."""
        return self._followed(self.send("GET", url, **headers))

    def submit(self, page: Answer, form: Form, button: tuple[str, str] | None = None, **fields: str) -> Answer:
        """The page that comes of a form, sent as a browser sends it."""
        url = urljoin(page.url, form.action)
        given = {**form.fields, **{name.replace("__", "-"): value for name, value in fields.items()}} | (
            dict([button]) if button else {}
        )
        site = "same-origin" if urlsplit(url).netloc == urlsplit(page.url).netloc else "cross-site"
        sent = self.send(
            "POST",
            url,
            body=urlencode(given),
            Content_Type="application/x-www-form-urlencoded",
            Origin="null",
            Sec_Fetch_Site=site,
        )
        return self._followed(sent)

    def _followed(self, answer: Answer) -> Answer:
        for _ in range(10):
            if answer.status not in (302, 303, 307):
                return answer
            answer = self.send("GET", urljoin(answer.url, answer.headers["location"]))
        raise AssertionError("redirects without end")

    def sign_in(self, user: str, path: str = "/") -> Answer:
        """The page at that path, after signing in at the provider as that person."""
        page = self.go(path)
        form = page.form("/login")
        return self.submit(page, form, ("user", user))

    def decide(self, page: Answer, verdict: str, **fields: str) -> Answer:
        """The claim's page after that verdict."""
        return self.submit(page, page.form("/review"), ("verdict", verdict), **fields)
