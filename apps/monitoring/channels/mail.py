"""E-mail by SMTP, as text and as HTML. Where a channel says nothing of the server, the settings EMAIL_… hold."""

import logging
import smtplib
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from email.utils import parseaddr
from typing import Annotated, Any, Literal

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives
from django.core.mail.message import sanitize_address
from django.core.mail.utils import DNS_NAME
from django.core.validators import validate_email
from django.template.loader import render_to_string
from pydantic import AfterValidator, Field

from apps.monitoring.channels.base import TIMEOUT_SEC, Config, SendError
from apps.monitoring.fetch import Door
from apps.monitoring.messages import Notice, as_text

log = logging.getLogger(__name__)


def _address(text: str) -> str:
    try:
        validate_email(parseaddr(text)[1] if text.isprintable() else "")
    except ValidationError:
        raise ValueError(f"{text!r} is no e-mail address") from None
    return text


def _address_or_nothing(text: str) -> str:
    return _address(text) if text else ""


def _host(text: str) -> str:
    if text and not (text.isascii() and text.replace("-", "").replace(".", "").replace(":", "").isalnum()):
        raise ValueError("the name of a mail server is needed, such as smtp.example.com")
    return text


Address = Annotated[str, AfterValidator(_address), Field(max_length=300)]


class EmailConfig(Config):
    """`to`: who gets it. The rest is taken from the settings where it is empty; the secret is the password."""

    to: list[Address] = Field(min_length=1, max_length=50)
    host: Annotated[str, AfterValidator(_host), Field(max_length=255)] = ""
    port: int = Field(default=0, ge=0, le=65535)
    user: str = Field(default="", max_length=255)
    sender: Annotated[str, AfterValidator(_address_or_nothing), Field(max_length=300)] = ""
    security: Literal["", "starttls", "tls", "none"] = ""


def send(config: EmailConfig, secret: str, notice: Notice, now: datetime, door: Door) -> None:
    """SMTP has its own connection; the server is the operator's, so it may be private."""
    host = config.host or settings.EMAIL_SMTP_HOST
    sender = config.sender or settings.EMAIL_FROM
    if not host or not sender:
        missing = "EMAIL_SMTP_HOST" if not host else "EMAIL_FROM"
        raise SendError(
            f"No mail server or sender is named: set {missing}, or name it in the channel.", is_permanent=True
        )
    try:
        with _connected(config, host) as server:
            _log_in(server, config, secret, sender)
            _hand_over(server, config, sender, notice)
    except (OSError, UnicodeError) as error:  # smtplib's own errors are of the first
        raise _named(error, host) from error


@contextmanager
def _connected(config: EmailConfig, host: str) -> Iterator[smtplib.SMTP]:
    security = config.security or settings.EMAIL_SECURITY
    port = config.port or settings.EMAIL_SMTP_PORT
    told: dict[str, Any] = {"local_hostname": DNS_NAME.get_fqdn(), "timeout": TIMEOUT_SEC}
    context = ssl.create_default_context()
    server = smtplib.SMTP_SSL(host, port, context=context, **told) if security == "tls" else smtplib.SMTP(
        host, port, **told
    )  # fmt: skip
    try:
        if security == "starttls":
            server.starttls(context=context)
        yield server
    finally:
        # Whatever becomes of the farewell: the message was taken, or the reason why not is known already.
        with suppress(OSError):
            server.quit()
        server.close()


def _log_in(server: smtplib.SMTP, config: EmailConfig, secret: str, sender: str) -> None:
    """A server of the channel's own never sees the login of the settings."""
    own = bool(config.host)
    password = secret or ("" if own else settings.EMAIL_PASSWORD)
    user = config.user or ("" if own else settings.EMAIL_USER) or parseaddr(sender)[1]
    if password:
        server.login(user, password)


def _hand_over(server: smtplib.SMTP, config: EmailConfig, sender: str, notice: Notice) -> None:
    recipients = [parseaddr(sanitize_address(to, "utf-8"))[1] for to in config.to]
    envelope_sender = parseaddr(sanitize_address(sender, "utf-8"))[1]
    message = _message(config, sender, envelope_sender.rpartition("@")[2], notice)
    # Django's own messages know `linesep`; smtplib leaves the line ends of bytes as they are.
    data = message.message().as_bytes(linesep="\r\n")  # type: ignore[call-arg]
    refused = server.sendmail(envelope_sender, recipients, data)
    if refused:  # the others have it, and would get it again
        log.warning("the mail server takes some recipients of an alert only, refused are %s", _who(refused))


def _message(config: EmailConfig, sender: str, domain: str, notice: Notice) -> EmailMultiAlternatives:
    message = EmailMultiAlternatives(
        notice.subject,
        as_text(notice),
        sender,
        list(config.to),
        # The same for each repetition, so that mail programs show it once; no holiday notes come back.
        headers={"Message-ID": f"<{notice.id}@{domain}>", "Auto-Submitted": "auto-generated"},
    )
    message.attach_alternative(render_to_string("monitoring/mail.html", {"notice": notice}), "text/html")
    return message


def _named(error: Exception, host: str) -> SendError:
    """What went wrong, in a sentence that says what to do where that is known."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _ in error.recipients.values()]
        told = f"The mail server takes none of the recipients ({_who(error.recipients)})."
        return SendError(told, is_permanent=min(codes) >= 500)
    if isinstance(error, smtplib.SMTPResponseException):
        return SendError(f"The mail server answers {_answer(error)}", is_permanent=error.smtp_code >= 500)
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return SendError(f"The mail server {host} cannot do what is asked of it ({error}). See `security`.")
    if isinstance(error, ssl.SSLCertVerificationError):
        return SendError(
            f"The certificate of the mail server {host} is not good: {error.verify_message}. Let SSL_CERT_FILE name "
            "a file with its authority, or use the name that it is made for."
        )
    if isinstance(error, ssl.SSLError):
        return SendError(f"No secure connection to the mail server {host}: {error.reason}. See `port` and `security`.")
    if isinstance(error, UnicodeError):
        return SendError("The mail server's name, the user or the password holds letters that SMTP cannot carry.")
    return SendError(f"The mail server {host} cannot be reached or broke off ({type(error).__name__}).")


def _who(refused: Mapping[str, tuple[int, bytes]]) -> str:
    return "; ".join(f"{to}: {code}" for to, (code, _) in refused.items())


def _answer(error: smtplib.SMTPResponseException) -> str:
    said = error.smtp_error
    words = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return f"{error.smtp_code}: {' '.join(words.split())[:150]}"
