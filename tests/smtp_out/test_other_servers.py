"""Delivery to a server that others wrote: stock aiosmtpd, which pipelines nothing and knows no DSN."""

import asyncio
import ssl

from aiosmtpd.smtp import SMTP, Envelope, Session

from mssante.domain.dsn import Notify
from tests.smtp_out.conftest import World
from tests.smtp_out.office import CLINIQUE, CONTENT, PREPEND, SENDER, Office, finished


class Handler:
    """Takes what it gets, except for one recipient."""

    def __init__(self) -> None:
        self.taken: list[tuple[str | None, list[str], bytes | str | None]] = []
        self.certificates: list[object] = []

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("inconnu@"):
            return "550 5.1.1 boite inconnue"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert session.ssl is not None
        self.certificates.append(session.ssl["ssl_object"].getpeercert())
        self.taken.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
        return "250 2.0.0 pris"


async def test_aiosmtpd(office: Office, world: World) -> None:
    handler = Handler()
    context = world.server()
    context.verify_mode = ssl.CERT_REQUIRED
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(handler, hostname="mx.clinique.mssante.fr", tls_context=context, require_starttls=True),
        "127.0.0.1",
        0,
    )
    office.routes[CLINIQUE] = server.sockets[0].getsockname()[1]
    content = CONTENT + b".\r\n..\r\n" + "accentué\r\n".encode() + b"x" * 900 + b"\r\n"
    async with office.courier():
        await office.post(f"a@{CLINIQUE}", f"inconnu@{CLINIQUE}", content=content, notify=Notify.SUCCESS)
        await office.post(f"b@{CLINIQUE}", content=CONTENT)
        items = await office.until(finished)
    server.close()
    await server.wait_closed()
    assert [item.last_reply for item in items] == ["250 2.0.0 pris", "550 5.1.1 boite inconnue", "250 2.0.0 pris"]
    assert sorted(handler.taken, key=str) == [
        (SENDER, [f"a@{CLINIQUE}"], PREPEND + content),
        (SENDER, [f"b@{CLINIQUE}"], PREPEND + CONTENT),
    ]
    assert all("CABINET DES LILAS" in str(certificate) for certificate in handler.certificates)
    notices = [str(notice) for notice in await office.inbox()]
    assert len(notices) == 1, "the failure was not asked for, the success was, and aiosmtpd will not tell of it"
    assert "Action: relayed" in notices[0]
