"""Mail, Teams and apprise, against stand-ins that check what the real ones check."""

from __future__ import annotations

import email
import email.policy
import re
import socket
import socketserver
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP as Server
from aiosmtpd.smtp import AuthResult, Envelope, Session

from approval_resource.claims.review import review
from approval_resource.model.claim import Verdict
from approval_resource.notify import connections
from approval_resource.notify.channels import apprise
from approval_resource.notify.channels.apprise import AppriseOutlet
from approval_resource.notify.channels.mail import MailOutlet
from approval_resource.notify.channels.teams import TeamsOutlet
from approval_resource.notify.connections import ChannelDownError, MessageRefusedError, parse_address
from approval_resource.notify.worker import Worker
from approval_resource.store.dynamodb.store import DynamoStore
from demo.engine import free_port
from tests.builders import FrozenTime, a_build, take, under
from tests.notify.standins import Receiver, served, teams
from tests.notify.test_slack import ANA, BOB, a_message
from tests.tls import Authority

PASSWORD = "correct horse"
OPS, ANAS, DANAS = "ops@example.com", "ana@example.com", "dana@example.com"


@dataclass
class Mailboxes:
    """A server for mail that keeps what it is given."""

    mails: list[tuple[list[str], EmailMessage]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    signed_in: list[bool] = field(default_factory=list)
    refuses: str = ""
    code: str = ""

    async def handle_RCPT(self, server: Server, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        if address == self.refuses:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Server, session: Session, envelope: Envelope) -> str:
        if self.code:
            return self.code
        assert isinstance(envelope.content, bytes)
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append((list(envelope.rcpt_tos), mail))
        self.encrypted.append(session.ssl is not None)
        self.signed_in.append(bool(session.authenticated))
        return "250 OK"


def _sign_in(server: Server, session: Session, envelope: Envelope, mechanism: str, auth: Any) -> AuthResult:
    return AuthResult(success=(auth.login, auth.password) == (b"robot", PASSWORD.encode()), handled=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A CA of one's own."""
    return Authority.made(tmp_path_factory.mktemp("ca"), "ca")


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process trusts that CA."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))


@pytest.fixture
def mailboxes() -> Mailboxes:
    """What came."""
    return Mailboxes()


def listening(mailboxes: Mailboxes, **settings: Any) -> Controller:
    """A server on a free port."""
    controller = Controller(mailboxes, hostname="127.0.0.1", port=free_port(), **settings)
    controller.start()
    return controller


def port_of(controller: Controller) -> int:
    """The port that it has."""
    return int(controller.port)


@pytest.fixture
def secure(mailboxes: Mailboxes, authority: Authority) -> Iterator[int]:
    """A server with STARTTLS that wants to know who sends; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.server("127.0.0.1"))
    controller = listening(mailboxes, tls_context=context, require_starttls=True, auth_required=True, authenticator=_sign_in)
    yield port_of(controller)
    controller.stop()


@pytest.fixture
def plain(mailboxes: Mailboxes) -> Iterator[int]:
    """A server without TLS; its port."""
    controller = listening(mailboxes)
    yield port_of(controller)
    controller.stop()


def mail(port: int, host: str = "127.0.0.1", password: str = PASSWORD, **more: Any) -> MailOutlet:
    """The way to that server, signed in."""
    people = {"ana": ANAS, "dana": DANAS}
    user = more.get("user", "robot")
    return MailOutlet([OPS], "approvals@example.com", parse_address(f"smtp://{host}:{port}"), user, password, people)


@pytest.mark.usefixtures("trusted")
def test_a_claim_is_a_thread_of_mails(
    secure: int, mailboxes: Mailboxes, shared: DynamoStore, time: FrozenTime, working: Callable[..., Worker]
) -> None:
    """By STARTTLS, signed in; plain and HTML; whoever is still asked gets the first, the requester the outcome."""
    worker = working(mail(secure))
    worker.turn()
    policy = under(
        people={"ana": [ANA], "bob": [BOB]}, approval_rules=[{"name": "one", "user": "ana", "required_approvals": 1}]
    )
    claim = take(
        shared, a_build(1, created_by="dana"), terms=policy, description="<b>deploy</b> & go", expires_after=timedelta(hours=2)
    )
    worker.turn()
    review(shared, claim.id, reviewer=ANA, verdict=Verdict.APPROVE, comment="fine")
    worker.turn()
    (first_to, first), (second_to, second) = mailboxes.mails
    assert (mailboxes.encrypted, mailboxes.signed_in) == ([True, True], [True, True])
    assert (first_to, second_to) == ([OPS, ANAS], [OPS, DANAS])
    assert first["In-Reply-To"] is None
    assert second["In-Reply-To"] == first["Message-ID"]
    # A relay may replace the ids of mails; that of their thread stays.
    assert second["References"].split() == [first["References"], first["Message-ID"]]
    assert first["X-Approval-Id"] != second["X-Approval-Id"]
    assert first["Message-ID"] != second["Message-ID"]
    assert first["Subject"] == second["Subject"] == f"Approval: deploy in payments ({claim.id[:8]})"
    assert first["Auto-Submitted"] == "auto-generated"
    text, html = (first.get_body((kind,)) for kind in ("plain", "html"))
    assert text is not None
    assert html is not None
    assert "<b>deploy</b> & go" in text.get_content()
    assert "&lt;b&gt;deploy&lt;/b&gt; &amp; go" in html.get_content()
    assert "14:00 UTC" in text.get_content()
    told = second.get_body(("plain",))
    assert told is not None
    assert "was approved" in told.get_content()
    assert "fine" in told.get_content()


@pytest.mark.usefixtures("trusted")
def test_a_mail_that_is_sent_again_has_the_same_id(secure: int, mailboxes: Mailboxes) -> None:
    """So mail programs that know ids show it once."""
    for _ in range(2):
        mail(secure).send(a_message(), "", 1_800_000_000)
    assert [one["Message-ID"] for _, one in mailboxes.mails] == ["<msg_1@example.com>"] * 2
    assert [one["X-Approval-Id"] for _, one in mailboxes.mails] == ["msg_1"] * 2


@pytest.mark.parametrize(
    "ref",
    [
        *(
            "<msg_1@example.com>\r\nBcc: e@evil.example",
            "=?utf-8?q?=0d=0aBcc:e=40evil.example?=",
            "<msg_1@a\x00b>",
            "(",
            "<é@b>",
        ),
        *("\ud800", "<msg_1@example.com> <x@y>", "x" * 5000, "<msg_1@example.com>\n"),
    ],
)
def test_a_planted_reference_adds_no_header(plain: int, mailboxes: Mailboxes, ref: str) -> None:
    """Nor does it end the program: the mail begins a thread of its own, which later mails go on with."""
    kept = mail(plain, user="").send(a_message(), ref, 0)
    ((_, got),) = mailboxes.mails
    assert (got["In-Reply-To"], got["Bcc"]) == (None, None)
    assert re.fullmatch(r"<msg_[0-9a-f]{32}@example\.com>", got["References"])
    assert kept == got["Message-ID"]


@pytest.mark.usefixtures("trusted")
def test_a_wrong_password_is_told_without_it(secure: int, mailboxes: Mailboxes) -> None:
    """The channel is down, and nothing was sent."""
    for attempt in (lambda way: way.send(a_message(), "", 0), lambda way: way.check()):
        with pytest.raises(ChannelDownError) as told:
            attempt(mail(secure, password="wrong secret"))  # type: ignore[no-untyped-call]
        assert "535" in str(told.value)
        assert "wrong secret" not in str(told.value)
    assert mailboxes.mails == []
    mail(secure).check()


@pytest.mark.usefixtures("trusted")
def test_tls_may_stand_at_the_beginning(mailboxes: Mailboxes, authority: Authority) -> None:
    """smtps: nothing is said before the connection is encrypted and its certificate was checked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.server("localhost"))
    controller = Controller(mailboxes, hostname="localhost", port=free_port(), ssl_context=context)

    def knock() -> None:
        trusting = ssl.create_default_context(cafile=str(authority.certificate))
        with socket.create_connection(("localhost", controller.port)) as line:
            trusting.wrap_socket(line, server_hostname="localhost").close()

    # Its own first connection would trust nobody.
    controller._trigger_server = knock  # type: ignore[method-assign]
    controller.start()
    try:
        for host, fine in (("localhost", True), ("127.0.0.1", False)):
            way = MailOutlet([OPS], "a@example.com", parse_address(f"smtps://{host}:{controller.port}"), "", "", {})
            if fine:
                way.send(a_message(), "", 0)
            else:
                with pytest.raises(ChannelDownError, match="its certificate is not trusted"):
                    way.send(a_message(), "", 0)
    finally:
        controller.stop()
    assert len(mailboxes.mails) == 1


def test_a_server_that_is_not_trusted_gets_nothing(secure: int, mailboxes: Mailboxes) -> None:
    """Neither the password nor the mail."""
    with pytest.raises(ChannelDownError, match="its certificate is not trusted"):
        mail(secure).send(a_message(), "", 0)
    assert mailboxes.mails == []


def test_without_tls_mail_goes_to_the_loopback_alone(plain: int, mailboxes: Mailboxes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay on the same machine may do without STARTTLS; another host that offers none gets nothing."""
    mail(plain, user="").send(a_message(), "", 0)
    assert len(mailboxes.mails) == 1
    real = parse_address(f"smtp://127.0.0.1:{plain}")
    monkeypatch.setattr("approval_resource.notify.connections.lookup.__defaults__", None, raising=False)
    monkeypatch.setattr("approval_resource.notify.connections.checked", lambda address, resolve=None: [real.host])
    with pytest.raises(ChannelDownError, match="offers no STARTTLS"):
        mail(plain, host="mail.example", user="").send(a_message(), "", 0)
    assert len(mailboxes.mails) == 1


def test_a_mailbox_that_is_gone_keeps_the_mail_from_no_other(plain: int, mailboxes: Mailboxes) -> None:
    """A person's address may be refused; if all are, the channel is down."""
    mailboxes.refuses = ANAS
    mail(plain, user="").send(a_message(asked=["ana"]), "", 0)
    assert [to for to, _ in mailboxes.mails] == [[OPS]]
    mailboxes.refuses = OPS
    with pytest.raises(ChannelDownError, match="none of the recipients"):
        mail(plain, user="").send(a_message(), "", 0)


PHASES = ("CONNECT", "EHLO", "MAIL", "RCPT", "DATA")


@pytest.mark.parametrize("code", [421, 450, 451, 452, 454, 550, 551, 552, 553, 554, 571])
@pytest.mark.parametrize("phase", PHASES)
def test_a_refused_mail_is_told_from_a_server_that_takes_none(phase: str, code: int) -> None:
    """A code for good is about one mail where its content was sent, or its size named; else any mail would get it."""
    refused = code >= 500 and (phase == "DATA" or (phase == "MAIL" and code == 552))
    with (
        answering(phase, code) as port,
        pytest.raises(MessageRefusedError if refused else ChannelDownError, match=str(code)),
    ):
        mail(port, user="").send(a_message(), "", 0)


@contextmanager
def answering(phase: str, code: int) -> Iterator[int]:
    """A server that answers so at that phase of each mail; its port."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("CONNECT", 220)
            for line in self.rfile:
                word = line.split()[0].decode().upper()
                if word == "QUIT":
                    return
                self.say("MAIL" if word == "MAIL" else word, 354 if word == "DATA" and phase != "DATA" else 250)

        def say(self, now: str, fine: int) -> None:
            self.wfile.write(f"{code if now == phase or (phase == 'EHLO' and now == 'HELO') else fine} so\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("code", "error"), [("452 full", ChannelDownError), ("550 spam", MessageRefusedError), ("552 large", MessageRefusedError)]
)
def test_a_refused_content_is_told_by_a_real_server(
    plain: int, mailboxes: Mailboxes, code: str, error: type[Exception]
) -> None:
    """By the server's code after the content."""
    mailboxes.code = code
    with pytest.raises(error, match=code[:3]):
        mail(plain, user="").send(a_message(), "", 0)


@pytest.mark.parametrize(
    "text", ["x\r\nBcc: evil@example.com", "x\n.\nMAIL FROM:<a@b.c>", "\r\n\r\nbody", "=?utf-8?q?=0ABcc:_x?="]
)
def test_no_text_adds_a_header_or_a_mail(plain: int, mailboxes: Mailboxes, text: str) -> None:
    """Whatever others wrote stays text."""
    from approval_resource.notify.message import said

    told = said(text)
    mail(plain, user="").send(a_message(title=told, subject=told, facts=[("What", told)]), "", 0)
    ((to, one),) = mailboxes.mails
    assert to == [OPS]
    assert one["Bcc"] is None
    assert set(one.keys()) <= {
        *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"),
        *("X-Approval-Id", "References", "X-Peer", "X-MailFrom", "X-RcptTo"),
    }


# ---- Teams ----------------------------------------------------------------------------------------


def card_text(body: bytes) -> str:
    """All that a card shows."""
    return body.decode()


def test_teams_gets_a_card_with_one_link(shared: DynamoStore, time: FrozenTime, working: Callable[..., Worker]) -> None:
    """A card for what waits, and one for what became of it."""
    with served(Receiver(answer=teams)) as flow:
        worker = working(TeamsOutlet(parse_address(f"{flow.url}/workflows/1?sig=secret")))
        worker.turn()
        claim = take(shared, 1, description="[click](https://evil.example)")
        review(shared, claim.id, reviewer=ANA, verdict=Verdict.REJECT, comment="no")
        worker.turn()
    assert [request.path for request in flow.requests] == ["/workflows/1?sig=secret"] * 2
    cards = [request.document["attachments"][0]["content"] for request in flow.requests]
    assert [card["actions"] for card in cards] == [
        [{"type": "Action.OpenUrl", "title": "Open", "url": "https://ci.example/builds/1"}]
    ] * 2
    assert "[click](https://evil.example)" in card_text(flow.requests[0].body), "text runs interpret no markup"
    assert "was rejected" in card_text(flow.requests[1].body)
    assert len({card["body"][0]["id"] for card in cards}) == 2


def test_a_card_is_never_too_large() -> None:
    """What doesn't fit is left out: the excerpt first."""
    with served(Receiver(answer=teams)) as flow:
        long = a_message(facts=[("x", "🚀" * 600)] * 30, excerpt="\n".join(["🚀" * 160] * 40), excerpt_name="plan")
        TeamsOutlet(parse_address(flow.url)).send(long, "", 0)
        assert len(flow.requests[0].body) <= 28_000


def test_a_card_that_teams_refuses_is_told_apart() -> None:
    """Others are not held up by it."""
    with served(Receiver(answer=teams)) as flow, pytest.raises(MessageRefusedError, match="400"):
        TeamsOutlet(parse_address(flow.url)).send(a_message(title=""), "", 0)


# ---- apprise --------------------------------------------------------------------------------------


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine takes its time to load apprise."""
    monkeypatch.setattr(connections, "SECONDS", 60.0)


def test_apprise_sends_what_people_are_told(patient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real library, to a receiver here, whatever proxy the environment names."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with served(Receiver()) as receiver:
        way = AppriseOutlet(receiver.url.replace("http://", "json://"))
        way.check()
        assert receiver.requests == []
        assert way.send(a_message(facts=[("What", "deploy it")], link="https://x.example/1"), "", 0) == "msg_1"
    (request,) = receiver.requests
    assert request.document["title"] == "deploy waits"
    assert "What: deploy it" in request.document["message"]


def test_what_apprise_cannot_send_is_down(patient: None) -> None:
    """Nobody listens there; nothing of the address is told."""
    with pytest.raises(ChannelDownError, match="could not send") as told:
        AppriseOutlet("json://user:secret@127.0.0.1:9/").send(a_message(), "", 0)
    assert "secret" not in str(told.value)
    with pytest.raises(ChannelDownError, match="doesn't understand"):
        AppriseOutlet("nonsense").check()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("jsons://169.254.169.254/latest", "169.254.169.254 is a link-local address"),
        pytest.param("jsons://[fe80::1]/", "link-local", marks=pytest.mark.long),
        pytest.param("jsons://[::ffff:169.254.169.254]/", "link-local", marks=pytest.mark.long),
        pytest.param("jsons://[fd00:ec2::254]/", "metadata", marks=pytest.mark.long),
        pytest.param("jsons://2852039166/", "link-local", marks=pytest.mark.long),
        pytest.param("jsons://0xa9fea9fe/", "link-local", marks=pytest.mark.long),
        ("json://192.0.2.1/", "loopback alone"),
        pytest.param("xml://192.0.2.1/", "loopback alone", marks=pytest.mark.long),
        ("mailto://user:pass@example.com?smtp=192.0.2.1&to=a@example.com", "without TLS"),
        pytest.param("rsyslog://192.0.2.1/", "without TLS", marks=pytest.mark.long),
    ],
)
def test_apprise_reaches_no_address_that_is_forbidden(patient: None, url: str, why: str) -> None:
    """Whichever library of its connects, in whichever spelling; and without TLS nothing but this machine."""
    with pytest.raises(ChannelDownError, match=why):
        AppriseOutlet(url).send(a_message(), "", 0)


def test_apprise_reaches_no_forbidden_address_by_a_name(patient: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address that is connected to counts: a name that changes between two look-ups gains nothing."""
    program = tmp_path / "child.py"
    program.write_text(
        "import runpy, socket, sys\n"
        "found = ['127.0.0.1', '169.254.169.254']\n"
        "def lookup(host, port, *more, **named):\n"
        "    ip = found.pop(0) if len(found) > 1 else found[0]\n"
        "    return [(socket.AF_INET, socket.SOCK_STREAM, 6, '', (ip, port))]\n"
        "socket.getaddrinfo = lookup\n"
        f"sys.argv = [{str(apprise.CHILD)!r}]\n"
        f"runpy.run_path({str(apprise.CHILD)!r}, run_name='__main__')\n"
    )
    monkeypatch.setattr(apprise, "CHILD", program)
    first = AppriseOutlet("jsons://rebinds.example:9/?retry=0")
    with pytest.raises(ChannelDownError, match="could not send"):
        first.send(a_message(), "", 0)
    program.write_text(program.read_text().replace("'127.0.0.1', ", ""))
    with pytest.raises(ChannelDownError, match=r"169\.254\.169\.254 is a link-local address"):
        first.send(a_message(), "", 0)


@pytest.mark.parametrize("status", [302, 308])
def test_apprise_follows_no_redirect(patient: None, status: int) -> None:
    """Not even to where it may go."""
    with served(Receiver()) as elsewhere, served(Receiver()) as receiver:
        receiver.answer = lambda request: (status, {"Location": f"{elsewhere.url}/"}, b"")
        with pytest.raises(ChannelDownError, match="could not send"):
            AppriseOutlet(receiver.url.replace("http://", "json://")).send(a_message(), "", 0)
        assert elsewhere.taken == []
        assert receiver.taken != []


def test_apprise_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A lease must not end while it hangs; what it says meanwhile is no answer."""
    program = tmp_path / "child.py"
    program.write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(apprise, "CHILD", program)
    monkeypatch.setattr(connections, "SECONDS", 0.5)
    with pytest.raises(ChannelDownError, match="in time"):
        AppriseOutlet("json://127.0.0.1/").check()
    program.write_text("print('{')\n")
    monkeypatch.setattr(connections, "SECONDS", 60)
    with pytest.raises(ChannelDownError, match="without an answer"):
        AppriseOutlet("json://127.0.0.1/").check()


def test_the_child_of_apprise_knows_no_secret_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, patient: None) -> None:
    """Of the environment it gets what it needs to load and to trust certificates."""
    program = tmp_path / "child.py"
    program.write_text("import json, os\nprint(json.dumps({'sent': False, 'why': ' '.join(sorted(os.environ))}))\n")
    monkeypatch.setattr(apprise, "CHILD", program)
    for name in ("AWS_SECRET_ACCESS_KEY", "SLACK_TOKEN", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "canary")
    with pytest.raises(ChannelDownError) as told:
        AppriseOutlet("json://127.0.0.1/").check()
    assert set(str(told.value).split()) <= {*apprise.PASSED, "NETRC", "LC_CTYPE"}


def test_without_the_extra_its_absence_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading the notifications needs no apprise."""
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ChannelDownError, match=r"approval-resource\[apprise\]"):
        AppriseOutlet("json://127.0.0.1/").check()
