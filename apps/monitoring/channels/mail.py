"""E-mail by SMTP, as text and as HTML. Where a channel says nothing of the server, the settings EMAIL_… hold."""

import smtplib
import ssl
from datetime import datetime
from email.utils import parseaddr
from typing import Annotated, Literal

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives
from django.core.mail.backends.smtp import EmailBackend
from django.core.validators import validate_email
from django.template.loader import render_to_string
from pydantic import AfterValidator, Field

from apps.monitoring.channels.base import TIMEOUT_SEC, Config, SendError
from apps.monitoring.fetch import Door
from apps.monitoring.messages import Notice, as_text


def _address(text: str) -> str:
    try:
        validate_email(parseaddr(text)[1])
    except ValidationError:
        raise ValueError(f"{text!r} is no e-mail address") from None
    return text


Address = Annotated[str, AfterValidator(_address), Field(max_length=300)]


class EmailConfig(Config):
    """`to`: who gets it. The rest is taken from the settings where it is empty; the secret is the password."""

    to: tuple[Address, ...] = Field(min_length=1, max_length=50)
    host: str = Field(default="", max_length=255)
    port: int = Field(default=0, ge=0, le=65535)
    user: str = Field(default="", max_length=255)
    sender: Address | Literal[""] = ""
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
    backend = _backend(config, host, secret)
    try:
        _message(config, sender, notice, backend).send()
    except smtplib.SMTPRecipientsRefused as error:
        codes = {code for code, _ in error.recipients.values()}
        said = "; ".join(f"{to}: {code}" for to, (code, _) in error.recipients.items())
        raise SendError(
            f"The mail server takes none of the recipients ({said}).", is_permanent=min(codes) >= 500
        ) from error
    except smtplib.SMTPResponseException as error:
        said = error.smtp_error.decode("utf-8", "replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
        raise SendError(
            f"The mail server answers {error.smtp_code}: {said[:150]}", is_permanent=error.smtp_code >= 500
        ) from error
    except ssl.SSLError as error:
        raise SendError(f"No secure connection to the mail server {host}: {error.reason}") from error
    except (OSError, smtplib.SMTPException) as error:
        raise SendError(f"The mail server {host} cannot be reached or broke off ({type(error).__name__}).") from error
    finally:
        # Django leaves the connection open where it could not be made safe.
        backend.fail_silently = True
        backend.close()


def _backend(config: EmailConfig, host: str, secret: str) -> EmailBackend:
    security = config.security or settings.EMAIL_SECURITY
    own = bool(config.host)
    password = secret or ("" if own else settings.EMAIL_PASSWORD)
    user = config.user or ("" if own else settings.EMAIL_USER)
    return EmailBackend(
        host=host,
        port=config.port or settings.EMAIL_SMTP_PORT,
        # An empty text would be replaced by a setting of Django's that we do not have.
        username=user if password else "",
        password=password if user else "",
        use_tls=security == "starttls",
        use_ssl=security == "tls",
        timeout=TIMEOUT_SEC,
    )


def _message(config: EmailConfig, sender: str, notice: Notice, backend: EmailBackend) -> EmailMultiAlternatives:
    domain = parseaddr(sender)[1].rpartition("@")[2] or "localhost"
    message = EmailMultiAlternatives(
        notice.subject,
        as_text(notice),
        sender,
        list(config.to),
        connection=backend,
        # The same for each repetition, so that mail programs show it once; no holiday notes come back.
        headers={"Message-ID": f"<{notice.id}@{domain}>", "Auto-Submitted": "auto-generated"},
    )
    message.attach_alternative(render_to_string("monitoring/mail.html", {"notice": notice}), "text/html")
    return message
