"""Mail that the operator writes to the people whose mailboxes are here: one text, in French.

What must always hold: it says that a program wrote it (RFC 3834 §5), and nothing in it is read as a second header or
part, whatever the text.
"""

from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime


def letter(*, sender: str, recipient: str, subject: str, text: str, message_id: str, now_us: int) -> bytes:
    """The message, CRLF line ends. `recipient` empty: several, who do not learn of each other. `sender` is an address,
    `message_id` comes with its angle brackets; `subject` on one line."""
    message = EmailMessage(policy=SMTP)
    message["From"] = f"Operateur MSSante <{sender}>"
    message["To"] = f"<{recipient}>" if recipient else "undisclosed-recipients:;"
    message["Subject"] = subject
    message["Date"] = format_datetime(datetime.fromtimestamp(now_us // 1_000_000, UTC))
    message["Message-ID"] = message_id
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text, cte="quoted-printable")
    return bytes(message)
