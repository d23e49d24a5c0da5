"""Mail by SMTP: plain text and HTML, one thread per claim."""

from __future__ import annotations

import html
import logging
import re
import smtplib
import socket
import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP as POLICY
from email.utils import format_datetime

from approval_resource.canonical import digest
from approval_resource.notify import connections
from approval_resource.notify.connections import Address, ChannelDownError, MessageRefusedError
from approval_resource.notify.message import Message

log = logging.getLogger(__name__)

ENCODED = "=?"
"""Start of an encoded word (RFC 2047). Python decodes it in a header, and its text could break the line."""
OWN = re.compile(r"<msg_[0-9a-f]{1,32}@[A-Za-z0-9.-]{1,189}>", re.ASCII)
"""Form of the id of a mail from here. Anything else comes from whoever wrote the table."""
TOO_LARGE = 552
"""Reply to MAIL FROM that refuses one message for its size."""
FOR_GOOD = range(500, 600)


class MailOutlet:
    """`Outlet` to some mailboxes."""

    edits = False

    def __init__(
        self, to: Sequence[str], sender: str, server: Address, username: str, password: str, people: Mapping[str, str]
    ) -> None:
        """Send to `to` from `sender`.

        `people`: mail addresses by name in policies, for those who are asked and for requesters.
        """
        self._to = to
        self._sender = sender
        self._server = server
        self._username = username
        self._password = password
        self._people = people

    def send(self, message: Message, ref: str, at: int) -> str:
        """See `Outlet.send`."""
        mail = self._mail(message, ref, at)
        with connections.connected(self._server) as line:
            try:
                with self._greeted(line) as server:
                    refused_some = server.send_message(mail)
            except smtplib.SMTPRecipientsRefused as refused:
                codes = ", ".join(sorted({str(code) for code, _ in refused.recipients.values()}))
                raise ChannelDownError(f"{self._server} takes none of the recipients ({codes})") from refused
            except smtplib.SMTPException as failed:
                raise self._told(failed) from failed
        if refused_some:
            log.warning("%s doesn't take %d of the recipients", self._server, len(refused_some))
        return ref if OWN.fullmatch(ref) else str(mail["Message-ID"])

    def check(self) -> None:
        """See `Outlet.check`."""
        with connections.connected(self._server) as line:
            try:
                with self._greeted(line) as server:
                    server.noop()
            except smtplib.SMTPException as failed:
                raise self._told(failed) from failed

    def _told(self, failed: smtplib.SMTPException) -> ChannelDownError | MessageRefusedError:
        if isinstance(failed, smtplib.SMTPNotSupportedError):
            return ChannelDownError(f"{self._server} offers no STARTTLS, or no way to sign in")
        if not isinstance(failed, smtplib.SMTPResponseException):
            return ChannelDownError(f"{self._server} can't be used: {type(failed).__name__}")
        told = f"{self._server} answered {failed.smtp_code}"
        # Only a refusal of the content or of its size concerns this message. An earlier refusal would meet
        # every other message as well.
        refused = isinstance(failed, smtplib.SMTPDataError) and failed.smtp_code in FOR_GOOD
        refused = refused or (isinstance(failed, smtplib.SMTPSenderRefused) and failed.smtp_code == TOO_LARGE)
        return MessageRefusedError(told) if refused else ChannelDownError(told)

    def _greeted(self, line: socket.socket) -> smtplib.SMTP:
        """Return an open session. Only a server on the loopback may do without TLS."""
        context = ssl.create_default_context()
        if self._server.scheme == "smtps":
            line = context.wrap_socket(line, server_hostname=self._server.host)
        server = _Session(self._server, line)
        try:
            server.ehlo_or_helo_if_needed()
            offered, plain = server.has_extn("starttls"), connections.is_loopback(self._server.host)
            if self._server.scheme == "smtp" and (offered or not plain):
                server.starttls(context=context)
            if self._username:
                server.login(self._username, self._password)
        except BaseException:
            server.close()
            raise
        return server

    def _mail(self, message: Message, ref: str, at: int) -> EmailMessage:
        mail = EmailMessage(policy=POLICY)
        mail["From"] = self._sender
        mail["To"] = ", ".join(self._recipients(message))
        # Some programs thread by subject, so all mails about a claim have the same one.
        mail["Subject"] = f"Approval: {message.subject.replace(ENCODED, '= ?')}"
        mail["Date"] = format_datetime(datetime.fromtimestamp(at, UTC))
        domain = self._sender.rpartition("@")[2]
        mail["Message-ID"] = f"<{message.id}@{domain}>"
        # A relay such as SES replaces Message-ID. It leaves X-Approval-Id and References.
        mail["X-Approval-Id"] = message.id
        if message.kind != "digest":
            thread = [f"<msg_{digest([message.claim_id, 'thread'])[:32]}@{domain}>"]
            if OWN.fullmatch(ref):
                mail["In-Reply-To"] = ref
                thread.append(ref)
            mail["References"] = " ".join(thread)
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(_plain(message))
        mail.add_alternative(_html(message), subtype="html")
        return mail

    def _recipients(self, message: Message) -> list[str]:
        more = [*message.asked, *([message.requester] if message.outcome else [])]
        return list(dict.fromkeys([*self._to, *(self._people[name] for name in more if name in self._people)]))


class _Session(smtplib.SMTP):
    """SMTP session on an open connection."""

    def __init__(self, address: Address, line: socket.socket) -> None:
        self._line = line
        super().__init__(address.host, address.port, local_hostname="localhost", timeout=connections.SECONDS)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return self._line


def _plain(message: Message) -> str:
    lines = [message.title, ""]
    lines += [f"{label}: {text}" if label else text for label, text in message.facts]
    if message.excerpt:
        lines += ["", f"{message.excerpt_name}:", *(f"    {line}" for line in message.excerpt.splitlines())]
    if message.link:
        lines += ["", message.link]
    return "\n".join(lines) + "\n"


def _html(message: Message) -> str:
    rows = "".join(
        f"<tr><th align=left>{html.escape(label)}</th><td>{html.escape(text)}</td></tr>" for label, text in message.facts
    )
    excerpt = f"<p>{html.escape(message.excerpt_name)}</p><pre>{html.escape(message.excerpt)}</pre>" if message.excerpt else ""
    link = f'<p><a href="{html.escape(message.link)}">Open</a></p>' if message.link else ""
    return (
        f"<!doctype html><html><body><h3>{html.escape(message.title)}</h3><table>{rows}</table>{excerpt}{link}</body></html>\n"
    )
