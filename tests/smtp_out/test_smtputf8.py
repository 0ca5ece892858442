"""Mail that needs SMTPUTF8 (RFC 6531) goes to peers that offer it, and comes back from those that do not."""

import pytest

from mssante.store.queue import QueueState
from tests.smtp_out.conftest import World
from tests.smtp_out.office import CLINIQUE, CONTENT, PREPEND, SENDER, Office, finished
from tests.smtp_out.peer import Peer, scripted

BY_SMTPUTF8 = b"Received: from poste\r\n by mx.cabinet.mssante.fr with UTF8SMTPSA id 1;\r\n a date\r\n"
ACCENTED = "Subject: Compte rendu opératoire\r\n\r\nBonjour,\r\n".encode()
OFFERED = ("PIPELINING", "SIZE 36700160", "8BITMIME", "SMTPUTF8")


@pytest.mark.parametrize("offered", [True, False])
@pytest.mark.parametrize(
    ("prepend", "content", "local", "needed"),
    [
        (BY_SMTPUTF8, CONTENT, "a", False),
        (BY_SMTPUTF8, ACCENTED, "a", True),
        (BY_SMTPUTF8, CONTENT + "é\r\n".encode(), "a", False),
        (PREPEND, CONTENT, "hélène", True),
        # Raw octets in a header that was not declared so are passed on as they came, to 8BITMIME.
        (PREPEND, ACCENTED, "a", False),
    ],
)
async def test_what_needs_it(
    prepend: bytes, content: bytes, local: str, needed: bool, offered: bool, office: Office, world: World
) -> None:
    peer = Peer(world.server(), extensions=OFFERED if offered else OFFERED[:-1])
    async with scripted(peer.talk) as office.routes[CLINIQUE], office.courier():
        await office.post(f"{local}@{CLINIQUE}", content=content, prepend=prepend)
        [item] = await office.until(finished)
    if needed and not offered:
        assert item.state is QueueState.FAILED
        assert item.last_reply.startswith("553 5.6.7")
        assert peer.received == []
        [notice] = await office.inbox()
        assert "5.6.7" in notice.as_string()
    else:
        [received] = peer.received
        assert received.commands[0].startswith(f"MAIL FROM:<{SENDER}> ")
        assert ("SMTPUTF8" in received.commands[0]) is needed
        assert received.content == prepend + content
