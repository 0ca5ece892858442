"""The queue drained over real TLS: every way in which a delivery ends, and what the sender is told."""

import asyncio
import dataclasses
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from espace_confiance.holder import EspaceConfiance
from espace_confiance.liste_blanche import SignerPin, read_liste, sign_liste
from mssante.domain.dsn import Notify
from mssante.domain.ins import ins_key
from mssante.services.deliver import Attempt, Deliveries, Delivery
from mssante.store import StoreUnavailable
from mssante.store.queue import QueueState
from smtp_out.connection import Timeouts
from tests.smtp_out.conftest import World
from tests.smtp_out.office import (
    CLINIQUE,
    CONTENT,
    DAY,
    EHPAD,
    HOUR,
    PATIENTS,
    PREPEND,
    SENDER,
    SILENT,
    Office,
    finished,
    tried,
)
from tests.smtp_out.peer import Peer, Session, scripted

A, B, C = (f"{name}@{CLINIQUE}" for name in "abc")


async def test_a_message_arrives_as_it_was_stored(office: Office, world: World) -> None:
    peer = Peer(world.server())
    content = CONTENT + b"..\r\n" + b"x" * 70 + b"\r\n"
    async with scripted(peer.talk) as office.routes[CLINIQUE], office.courier():
        await office.post(A, B, content=content, envid="QQ314159")
        items = await office.until(finished)
    assert [item.state for item in items] == [QueueState.SENT] * 2
    assert {item.last_reply for item in items} == {"250 2.0.0 ok"}
    (received,) = peer.received
    assert received.content == PREPEND + content
    assert received.recipients == [A, B]
    assert received.commands[0] == (f"MAIL FROM:<{SENDER}> SIZE={len(PREPEND + content)} BODY=8BITMIME ENVID=QQ314159")
    assert received.commands[1] == f"RCPT TO:<{A}>", "what the sender did not ask for is not asked of the peer"
    assert await office.inbox() == []
    (entry,) = await office.journal()
    assert entry.action == "delivery.sent"
    assert entry.detail["recipients"] == [A, B]


async def test_a_message_of_many_pieces(office: Office, world: World) -> None:
    peer = Peer(world.server())
    content = CONTENT + b"".join(b"%070d\r\n.%d\r\n" % (n, n) for n in range(40_000))
    async with scripted(peer.talk) as office.routes[CLINIQUE], office.courier():
        await office.post(A, content=content)
        await office.until(finished)
    assert peer.received[0].content == PREPEND + content


async def test_one_transaction_has_forty_recipients_at_most(office: Office, world: World) -> None:
    peer = Peer(world.server())
    async with scripted(peer.talk) as port, office.courier():
        office.routes |= {CLINIQUE: port, EHPAD: port}
        await office.post(*(f"r{n}@{CLINIQUE}" for n in range(45)), f"z@{EHPAD}")
        await office.until(finished)
    assert sorted(len(each.recipients) for each in peer.received) == [1, 5, 40]


async def test_messages_share_a_kept_connection(office: Office, world: World) -> None:
    peer = Peer(world.server())
    async with scripted(peer.talk) as office.routes[CLINIQUE], office.courier():
        for _ in range(3):
            await office.post(A)
            await office.until(finished)
    assert len(peer.received) == 3
    assert peer.connections == 1


async def test_a_kept_connection_that_died_costs_nothing(office: Office, world: World) -> None:
    """The peer closed while we were idle: another connection at once, no attempt counted, no delay."""
    taken = 0

    async def talk(session: Session) -> None:
        nonlocal taken
        await session.until_ready(world.server(), "PIPELINING")
        for answer in ("250 ok", "250 ok", "354 go"):
            await session.line()
            await session.say(answer)
        await session.content()
        taken += 1
        await session.say("250 ok")
        if await session.line() != "QUIT":
            session.reset()

    async with scripted(talk) as office.routes[CLINIQUE], office.courier():
        await office.post(A)
        await office.until(finished)
        await office.post(B)
        items = await office.until(finished)
    assert taken == 2
    assert [item.attempts for item in items] == [1, 1]


# -- refusals and notices ----------------------------------------------------------------------------------------


async def test_a_refused_recipient_comes_back_as_a_notice(office: Office, world: World) -> None:
    peer = Peer(world.server(), answers={f"RCPT TO:<{B}": "550 5.1.1 boite inconnue"})
    async with scripted(peer.talk) as office.routes[CLINIQUE], office.courier():
        await office.post(A, B, orcpt="rfc822;" + B, envid="QQ314159")
        items = await office.until(finished)
    assert [item.state for item in items] == [QueueState.SENT, QueueState.FAILED]
    (notice,) = await office.inbox()
    assert notice["Return-Path"] == "<>"
    assert notice["To"] == f"<{SENDER}>"
    assert notice.get_content_type() == "multipart/report"
    parts = notice.get_payload()
    assert isinstance(parts, list)
    text, status, header = parts
    assert "n'existe pas" in text.get_payload(decode=True).decode()  # type: ignore[union-attr]
    fields = str(status)
    assert f"Final-Recipient: rfc822; {B}" in fields
    assert "Action: failed" in fields
    assert "Status: 5.1.1" in fields
    assert "Diagnostic-Code: smtp; 550 5.1.1 boite inconnue" in fields
    assert "Original-Envelope-Id: QQ314159" in fields
    assert A not in fields
    assert "Compte rendu" in str(header)
    assert "Bonjour" not in str(notice), "only the header goes back"


@pytest.mark.parametrize("where", ["MAIL", "DATA", "final"])
async def test_refused_for_good_wherever(office: Office, world: World, where: str) -> None:
    peer = Peer(world.server())
    if where == "final":
        peer.final.append("554 5.6.0 contenu refuse")
    else:
        peer.answers[where] = "554 5.7.1 non"
    async with scripted(peer.talk) as office.routes[CLINIQUE], office.courier():
        await office.post(A, B)
        items = await office.until(finished)
    assert [item.state for item in items] == [QueueState.FAILED] * 2
    assert len(await office.inbox()) == 1, "one notice for both"
    assert peer.received == []


async def test_a_null_sender_gets_no_notice(office: Office, world: World) -> None:
    peer = Peer(world.server(), answers={"RCPT": "550 5.1.1 inconnu"})
    async with scripted(peer.talk) as office.routes[CLINIQUE], office.courier():
        await office.post(A, sender="")
        items = await office.until(finished)
    assert [item.state for item in items] == [QueueState.FAILED]
    assert await office.inbox() == []


async def test_notify_never_is_obeyed(office: Office, world: World) -> None:
    peer = Peer(world.server(), answers={"RCPT": "550 5.1.1 inconnu"})
    async with scripted(peer.talk) as office.routes[CLINIQUE], office.courier():
        await office.post(A, notify=Notify.NEVER)
        await office.until(finished)
    assert await office.inbox() == []


async def test_success_is_told_by_who_knows_of_it_last(office: Office, world: World) -> None:
    """RFC 3461 §5.2.2: a peer with DSN takes the wish over, for one without we say "relayed"."""
    peer = Peer(world.server())
    async with scripted(peer.talk) as office.routes[CLINIQUE], office.courier():
        await office.post(A, notify=Notify.SUCCESS, orcpt="rfc822;" + A)
        await office.until(finished)
    assert f"RCPT TO:<{A}> NOTIFY=SUCCESS ORCPT=rfc822;{A}" in peer.received[0].commands
    assert await office.inbox() == []
    peer = Peer(world.server(), extensions=("PIPELINING",))
    async with scripted(peer.talk) as office.routes[CLINIQUE], office.courier():
        await office.post(A, notify=Notify.SUCCESS)
        await office.until(finished)
    assert peer.received[0].commands[1] == f"RCPT TO:<{A}>"
    (notice,) = await office.inbox()
    assert "Action: relayed" in str(notice)


async def test_a_notice_to_a_sender_elsewhere_leaves_with_a_null_sender(office: Office, world: World) -> None:
    peer = Peer(world.server(), answers={f"RCPT TO:<{B}": "550 5.1.1 inconnu"})
    async with scripted(peer.talk) as office.routes[CLINIQUE], office.courier():
        await office.post(B, sender=A)
        items = await office.until(finished)
    assert [item.state for item in items] == [QueueState.FAILED, QueueState.SENT]
    (received,) = peer.received
    assert (received.sender, received.recipients) == ("", [A])
    assert f"RCPT TO:<{A}> NOTIFY=NEVER" in received.commands
    assert b"multipart/report" in received.content


async def test_no_patient_s_number_in_the_journal(office: Office, world: World) -> None:
    matricule = f"2790351215189{ins_key('2790351215189'):02d}"
    patient = f"{matricule}@{PATIENTS}"
    peer = Peer(world.server(), answers={"RCPT": f"550 5.1.1 <{patient}> inconnu"})
    async with scripted(peer.talk) as office.routes[PATIENTS], office.courier():
        await office.post(patient)
        items = await office.until(finished)
    assert patient in items[0].last_reply
    assert patient in str((await office.inbox())[0])
    assert matricule not in str(await office.journal())


# -- later -------------------------------------------------------------------------------------------------------


async def test_put_off_then_delivered(office: Office, world: World) -> None:
    peer = Peer(world.server(), answers={"RCPT": "451 4.7.1 plus tard"})
    async with scripted(peer.talk) as office.routes[CLINIQUE], office.courier():
        start = office.clock.now_us()
        await office.post(A)
        (item,) = await office.until(tried(1))
        assert item.state is QueueState.QUEUED
        assert item.due_us == start + 60_000_000
        assert item.last_reply == "451 4.7.1 plus tard"
        await office.later(59)
        peer.answers.clear()
        assert await office.states() == [QueueState.QUEUED]
        await office.later(1)
        items = await office.until(finished)
    assert [item.attempts for item in items] == [2]
    assert len(peer.received) == 1
    assert await office.inbox() == []


async def test_the_sender_is_told_once_of_a_delay_and_once_of_the_end(office: Office, world: World) -> None:
    peer = Peer(world.server(), answers={"RCPT": "451 4.3.0 plus tard"})
    async with scripted(peer.talk) as office.routes[CLINIQUE], office.courier():
        await office.post(A, lifetime=2 * DAY)
        actions = []
        attempts = 0
        while not finished(await office.items()):
            attempts += 1
            await office.until(tried(attempts))
            actions = ["failed" if "Action: failed" in str(notice) else "delayed" for notice in await office.inbox()]
            if attempts < 7:
                assert actions == []
            await office.later(4 * HOUR)
    assert actions == ["delayed", "failed"]
    assert "Status: 5.4.7" in str((await office.inbox())[1])
    assert "4.3.0 plus tard" in str((await office.inbox())[1])


async def test_an_unknown_outcome_is_tried_again(office: Office, world: World) -> None:
    """Cut after the final dot: better twice than never."""
    peer = Peer(world.server(), final=[""])
    async with scripted(peer.talk) as office.routes[CLINIQUE], office.courier():
        await office.post(A)
        (item,) = await office.until(tried(1))
        assert item.state is QueueState.QUEUED
        assert "nobody knows" in item.last_reply
        await office.later(60)
        await office.until(finished)
    assert len(peer.received) == 1


async def test_the_queue_drains_when_the_peer_comes_back(office: Office, world: World) -> None:
    peer = Peer(world.server())
    async with scripted(peer.talk) as port:
        pass
    office.routes[CLINIQUE] = port
    async with office.courier():
        for _ in range(12):
            await office.post(A)
        items = await office.until(tried(1))
        assert {item.last_reply.partition(":")[0] for item in items} == {"unreachable"}
        assert len(await office.journal()) == 12
        async with scripted(peer.talk) as office.routes[CLINIQUE]:
            await office.later(60)
            await office.until(finished)
    assert len(peer.received) == 12
    assert peer.most_at_once <= office.settings.connections_per_destination


async def test_a_dead_destination_holds_nobody_up(office: Office, world: World) -> None:
    silent = asyncio.Event()

    async def never(session: Session) -> None:
        await silent.wait()

    office.settings = dataclasses.replace(office.settings, connections=4, connections_per_destination=2)
    peer = Peer(world.server())
    async with scripted(never) as dead, scripted(peer.talk) as alive, office.courier():
        office.routes |= {EHPAD: dead, CLINIQUE: alive}
        for _ in range(10):
            await office.post(f"a@{EHPAD}")
            await office.post(A)
        await office.until(lambda items: all(i.state is QueueState.SENT for i in items if i.domain == CLINIQUE))
        assert all(i.attempts == 0 for i in await office.items() if i.domain == EHPAD)
        silent.set()


async def test_silent_destinations_hold_nobody_up(office: Office, world: World) -> None:
    """They take all the connections and all that may be in hand, and each may be waited for for minutes."""
    office.settings = dataclasses.replace(
        office.settings, connections=2, in_hand=12, slow_seconds=0.02, timeouts=Timeouts(greeting=60, goodbye=0.1)
    )
    never, peer = asyncio.Event(), Peer(world.server())

    async def says_nothing(session: Session) -> None:
        await never.wait()

    async with scripted(says_nothing) as mute, scripted(peer.talk) as alive:
        office.routes |= dict.fromkeys(SILENT, mute) | {CLINIQUE: alive}
        for domain in SILENT * 3:
            await office.post(f"a@{domain}")
        await office.post(A)
        async with office.courier():
            items = await office.until(lambda items: items[-1].state is QueueState.SENT)
            never.set()
    assert {item.last_reply for item in items[:-1]} <= {"", "timeout: too many peers are silent"}


async def test_a_destination_that_was_down_is_not_asked_for_each_message(office: Office, world: World) -> None:
    connections = 0

    async def refuses(session: Session) -> None:
        nonlocal connections
        connections += 1
        await session.say("554 5.3.2 pas de service")

    office.settings = dataclasses.replace(office.settings, connections_per_destination=1)
    async with scripted(refuses) as office.routes[CLINIQUE], office.courier():
        await office.post(A)
        await office.until(tried(1))
        for _ in range(5):
            await office.post(B)
        items = await office.until(tried(1))
        assert connections == 1
        assert {item.last_reply for item in items} == {"greeting_refused: 554 5.3.2 pas de service"}
        await office.later(60)
        await office.until(tried(2))
        assert connections == 2


# -- trust -------------------------------------------------------------------------------------------------------


async def test_a_certificate_not_listed_for_the_domain(office: Office, world: World) -> None:
    """Put off for a day (the list may lag), then given up; the peer never hears a word of the message."""
    peer = Peer(world.server("stranger"))
    async with scripted(peer.talk) as office.routes[CLINIQUE], office.courier():
        await office.post(A)
        (item,) = await office.until(tried(1))
        assert item.state is QueueState.QUEUED
        assert item.last_reply.startswith("not_listed: ")
        assert "CN=mx.inconnu.mssante.fr" in item.last_reply
        await office.later(DAY)
        (item,) = await office.until(finished)
    assert item.state is QueueState.FAILED
    assert "Status: 5.7.1" in str((await office.inbox())[0])
    assert peer.connections == 2
    assert peer.received == []


async def no_tls(session: Session) -> None:
    await session.say("220 mx")
    await session.line()
    await session.say("250-mx", "250 PIPELINING")
    assert await session.reader.read() == b"", "nothing may follow in clear"


async def test_a_peer_without_tls(office: Office) -> None:
    async with scripted(no_tls) as office.routes[CLINIQUE], office.courier():
        await office.post(A)
        (item,) = await office.until(tried(1))
        assert item.last_reply == "no_starttls"
        await office.later(DAY)
        (item,) = await office.until(finished)
    assert item.state is QueueState.FAILED
    assert "Status: 5.7.10" in str((await office.inbox())[0])


async def test_a_domain_outside_the_trust_space_fails_at_once(office: Office, world: World) -> None:
    peer = Peer(world.server())
    async with scripted(peer.talk) as office.routes["ailleurs.example"], office.courier():
        await office.post("a@ailleurs.example")
        (item,) = await office.until(finished)
    assert (item.state, item.attempts) == (QueueState.FAILED, 1)
    assert item.last_reply == "the domain is not in the white list"
    assert "Status: 5.7.1" in str((await office.inbox())[0])
    assert peer.connections == 0


async def test_a_domain_that_leaves_the_list_while_mail_waits(office: Office, world: World) -> None:
    """The list is asked again at each attempt, also when a connection is open already."""
    source = world.cabinet.liste_blanche
    pin = SignerPin.from_pem(world.cabinet.signer)
    liste = read_liste(source.read_bytes(), pin)
    authority = world.directory / "cabinet" / "pki" / "authority"
    key = load_pem_private_key((authority / "signataire.key").read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    certificate = x509.load_pem_x509_certificate((authority / "signataire.pem").read_bytes())
    without = [entry for entry in liste.entries if entry.nom != CLINIQUE]
    shorter = sign_liste(without, key, certificate, liste.generated_us + 1_000_000)
    place = office.base / "liste.xml"
    place.write_bytes(source.read_bytes())
    office.espace = EspaceConfiance(place, world.cabinet.signer)
    peer = Peer(world.server())
    async with scripted(peer.talk) as office.routes[CLINIQUE], office.courier():
        await office.post(A)
        await office.until(finished)
        place.write_bytes(shorter)
        assert office.espace.reload_if_changed()
        await office.post(B)
        items = await office.until(finished)
    assert [item.state for item in items] == [QueueState.SENT, QueueState.FAILED]
    assert [each.recipients for each in peer.received] == [[A]]


async def test_without_any_list_nothing_leaves_and_nobody_is_blamed(office: Office, world: World) -> None:
    office.espace = EspaceConfiance(world.directory / "missing.xml", world.cabinet.signer)
    peer = Peer(world.server())
    async with scripted(peer.talk) as office.routes[CLINIQUE], office.courier():
        await office.post(A)
        (item,) = await office.until(tried(1))
    assert item.state is QueueState.QUEUED
    assert peer.connections == 0


# -- routes ------------------------------------------------------------------------------------------------------


async def test_dns_that_does_not_answer_is_temporary(office: Office) -> None:
    async with office.courier():
        await office.post(A)
        (item,) = await office.until(tried(1))
    assert item.state is QueueState.QUEUED
    assert item.last_reply.startswith("451 4.4.3 ")


# -- limits, ends ----------------------------------------------------------------------------------------------------


async def test_a_short_hand_empties_a_long_queue(office: Office, world: World) -> None:
    office.settings = dataclasses.replace(office.settings, in_hand=8)
    peer = Peer(world.server())
    for _ in range(40):
        await office.post(A, B)
    async with scripted(peer.talk) as office.routes[CLINIQUE], office.courier():
        await office.until(finished)
    assert len(peer.received) == 40
    assert peer.most_at_once <= 4


async def test_an_idle_connection_makes_room_for_another_destination(office: Office, world: World) -> None:
    office.settings = dataclasses.replace(office.settings, connections=1, keep_seconds=3600)
    peer = Peer(world.server())
    async with scripted(peer.talk) as port, office.courier():
        office.routes |= {CLINIQUE: port, EHPAD: port}
        for address in (A, f"a@{EHPAD}", B):
            await office.post(address)
            await office.until(finished)
    assert len(peer.received) == 3
    assert (peer.connections, peer.most_at_once) == (3, 1)


async def test_a_connection_is_not_kept_idle_while_another_destination_waits(office: Office, world: World) -> None:
    office.settings = dataclasses.replace(office.settings, connections=1, keep_seconds=3600)
    peer = Peer(world.server())
    for address in (A, f"a@{EHPAD}", B, f"b@{EHPAD}"):
        await office.post(address)
    async with scripted(peer.talk) as port:
        office.routes |= {CLINIQUE: port, EHPAD: port}
        async with office.courier():
            await office.until(finished)
    assert len(peer.received) == 4
    assert (peer.connections, peer.most_at_once) == (2, 1)


async def test_a_busy_destination_lets_others_in(office: Office, world: World) -> None:
    office.settings = dataclasses.replace(office.settings, connections=2, keep_seconds=3600)
    peer = Peer(world.server())
    for _ in range(100):
        await office.post(A)
    for domain in (EHPAD, PATIENTS):
        await office.post(f"a@{domain}")
    async with scripted(peer.talk) as port:
        office.routes |= {CLINIQUE: port, EHPAD: port, PATIENTS: port}
        async with office.courier():
            await office.until(finished)
    order = [received.recipients[0] for received in peer.received]
    assert len(order) == 102
    assert max(order.index(f"a@{EHPAD}"), order.index(f"a@{PATIENTS}")) < 60


async def test_a_peer_that_takes_one_connection_at_once_is_not_down(office: Office, world: World) -> None:
    peer = Peer(world.server())
    busy, turned_away = False, 0

    async def one_at_once(session: Session) -> None:
        nonlocal busy, turned_away
        if busy:
            turned_away += 1
            await session.say("421 4.7.0 trop de connexions")
            return
        busy = True
        try:
            await peer.talk(session)
        finally:
            busy = False

    for _ in range(10):
        await office.post(A)
    async with scripted(one_at_once) as office.routes[CLINIQUE], office.courier():
        items = await office.until(finished)
    assert turned_away == office.settings.connections_per_destination - 1
    assert {item.attempts for item in items} == {1}
    assert len(peer.received) == 10


async def test_stopping_ends_what_is_under_way_and_gives_back_the_rest(office: Office, world: World) -> None:
    office.settings = dataclasses.replace(office.settings, connections=1)
    peer = Peer(world.server(), hold=asyncio.Event())
    async with scripted(peer.talk) as office.routes[CLINIQUE]:
        async with office.courier() as courier:
            for _ in range(3):
                await office.post(A)
            await peer.has_content.wait()
            await office.until(lambda items: all(item.state is QueueState.LEASED for item in items))
            stopping = asyncio.create_task(courier.stop(5))
            assert peer.hold is not None
            peer.hold.set()
            await stopping
        items = await office.items()
    assert [item.state for item in items] == [QueueState.SENT, QueueState.QUEUED, QueueState.QUEUED]
    assert [item.attempts for item in items] == [1, 0, 0]
    assert len(peer.received) == 1


async def test_stopping_does_not_wait_for_ever(office: Office, world: World) -> None:
    peer = Peer(world.server(), hold=asyncio.Event())
    async with scripted(peer.talk) as office.routes[CLINIQUE]:
        async with office.courier() as courier:
            await office.post(A)
            await peer.has_content.wait()
            await courier.stop(0.05)
        (item,) = await office.items()
        assert peer.hold is not None
        peer.hold.set()
    assert item.state is QueueState.QUEUED


async def test_a_message_that_cannot_be_read_keeps_nobody_else(office: Office, world: World) -> None:
    await office.post(A, content=CONTENT + b"x" * 300_000 + b"\r\n")
    for segment in (path for path in (office.base / "contents").rglob("*") if path.is_file()):
        segment.write_bytes(b"\0" * segment.stat().st_size)
    peer = Peer(world.server())
    async with scripted(peer.talk) as office.routes[CLINIQUE], office.courier():
        await office.post(B)
        items = await office.until(tried(1))
    assert [item.state for item in items] == [QueueState.QUEUED, QueueState.SENT]
    assert items[0].last_reply == "the content could not be read"
    assert [each.recipients for each in peer.received] == [[B]]


class Forgetful(Deliveries):
    """A store that is away once when an outcome is written."""

    away = True

    async def settle(self, delivery: Delivery, attempts: Sequence[Attempt]) -> None:
        if self.away:
            self.away = False
            raise StoreUnavailable("the database is away")
        await super().settle(delivery, attempts)


async def test_what_was_sent_is_written_when_the_store_comes_back(office: Office, world: World) -> None:
    office.settings = dataclasses.replace(office.settings, store_pause_seconds=0.0)
    deliveries = Forgetful(
        office.store, office.clock, hostname="mx.cabinet.mssante.fr", domains=frozenset({"cabinet.mssante.fr"})
    )
    peer = Peer(world.server())
    async with scripted(peer.talk) as office.routes[CLINIQUE], office.courier(deliveries):
        await office.post(A)
        await office.until(finished)
    assert len(peer.received) == 1
