"""Clients that go away, at the worst moments; and large messages, many at once."""

import random
import re
import smtplib
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.operators import Network, until
from tests.system.people import Letter, Person, answers, at_mx, brief, professional

MEGABYTE = 1_000_000


def begun(author: Person, reader: Person) -> smtplib.SMTP:
    """A session of `author` that may send its message now."""
    session = author.smtp()
    assert answers(session, author.address, [reader.address]) == ["250 2.1.0", "250 2.1.5"]
    assert session.docmd("DATA")[0] == 354
    return session


def half_close(session: smtplib.SMTP) -> None:
    """Says that it will say no more, and listens on."""
    assert session.sock is not None
    # Past the TLS layer, as a dying network does it: ssl's own shutdown would forget the session's keys.
    socket.socket.shutdown(session.sock, socket.SHUT_WR)


def reset(session: smtplib.SMTP) -> None:
    """Cuts the connection: the server reads an error, and what it had not read is lost."""
    assert session.sock is not None
    session.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    session.close()


def all_read(session: smtplib.SMTP) -> bool:
    """Has the server taken everything that was sent out of its socket? Asked of the kernel."""
    assert session.sock is not None
    client, server = session.sock.getsockname()[1], session.sock.getpeername()[1]
    sockets = re.findall(
        r"^ *\d+: \w+:(\w+) \w+:(\w+) \w+ (\w+):(\w+)", Path("/proc/net/tcp").read_text(), re.MULTILINE
    )
    queued = {(int(here, 16), int(there, 16)): (int(out, 16), int(read, 16)) for here, there, out, read in sockets}
    return queued[client, server][0] == 0 and queued[server, client][1] == 0


def test_a_client_that_half_closes_after_the_final_dot_gets_its_answer(network: Network) -> None:
    martin, petit = professional(network.cabinet), professional(network.cabinet)
    for size in (0, 3 * MEGABYTE):
        letter = martin.letter(petit.address)
        session = begun(martin, petit)
        session.send(letter.octets + b"Bonjour.\r\n" * (size // 10) + b".\r\n")
        half_close(session)
        assert brief(session.getreply()) == "250 2.0.0"
        session.close()
        with petit.imap() as inbox:
            inbox.await_letter(letter)


def test_a_message_whose_end_was_read_is_stored_though_its_client_resets(network: Network) -> None:
    martin, petit = professional(network.cabinet), professional(network.cabinet)
    letters = [martin.letter(petit.address) for _ in range(5)]
    for letter in letters:
        session = begun(martin, petit)
        session.send(letter.octets + b".\r\n")
        until(lambda session=session: all_read(session), "everything read")  # type: ignore[misc]
        reset(session)
    with petit.imap() as inbox:
        for letter in letters:
            inbox.await_letter(letter)
        assert inbox.count() == len(letters)


@pytest.mark.parametrize("go", [reset, half_close, smtplib.SMTP.close], ids=["reset", "half-close", "close"])
def test_of_a_message_cut_in_the_middle_nothing_is_kept(network: Network, go: object) -> None:
    assert callable(go)
    martin, petit = professional(network.cabinet), professional(network.cabinet)
    cut = martin.letter(petit.address)
    octets = cut.octets + b"Bonjour.\r\n" * 20_000 + b".\r\n"
    for end in (1, random.randrange(2, 300), random.randrange(300, len(octets)), len(octets) - 3, len(octets) - 1):
        session = begun(martin, petit)
        session.send(octets[:end])
        go(session)
        session.close()
    last = martin.letter(petit.address)
    martin.send(last, petit.address)
    with petit.imap() as inbox:
        inbox.await_letter(last)
        assert inbox.message_ids() == [last.message_id]
    assert network.cabinet.command("verify").code == 0


def test_a_peer_cut_in_the_middle_leaves_nothing_either(network: Network) -> None:
    petit, sender = professional(network.cabinet), f"qui@{network.clinique.domain}"
    letter = Person(sender, "", network.clinique).letter(petit.address)
    with at_mx(network.cabinet, network.clinique) as session:
        assert answers(session, sender, [petit.address]) == ["250 2.1.0", "250 2.1.5"]
        session.docmd("DATA")
        session.send(letter.octets)
        reset(session)
    with at_mx(network.cabinet, network.clinique) as session:
        assert answers(session, sender, [petit.address]) == ["250 2.1.0", "250 2.1.5"]
        assert session.data(letter.octets)[0] == 250
    with petit.imap() as inbox:
        inbox.await_letter(letter)
        assert inbox.count() == 1


def test_four_times_25_megabytes_at_once_stay_under_120_megabytes(
    own_network: Network, record_property: Callable[[str, object], None]
) -> None:
    """From submission to the mailbox at the other operator: both stay small, whatever both do meanwhile."""
    here, there = own_network.cabinet, own_network.clinique
    own_network.serve(here, there)
    martin, petit = professional(here), professional(there)
    attachment = (b"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0NQ\r\n") * 312_500
    assert len(attachment) == 25 * MEGABYTE
    letters = [martin.letter(petit.address) for _ in range(4)]

    def send(letter: Letter) -> None:
        martin.send(letter.octets + attachment, petit.address)

    with ThreadPoolExecutor(len(letters)) as pool:
        for one in [pool.submit(send, letter) for letter in letters]:
            one.result()
    with petit.imap() as inbox:
        until(lambda: inbox.count() == len(letters), "four letters", 60)
        answer, sizes = inbox.session.fetch("1:*", "(RFC822.SIZE)")
        assert answer == "OK"
        assert all(int(re.findall(r"SIZE (\d+)", str(size))[0]) > len(attachment) for size in sizes)
        assert inbox.await_letter(letters[0]).endswith(letters[0].octets + attachment)
    for operator in (here, there):
        resident_kib, figures = operator.status_kib("VmHWM"), operator.figures()
        record_property(f"{operator.name} VmHWM KiB", resident_kib)
        record_property(f"{operator.name} longest hold s", figures["mssante_loop_longest_stall_seconds"])
        print(operator.name, resident_kib, "KiB,", figures["mssante_loop_longest_stall_seconds"], "s")
        assert resident_kib < 120 * 1024
        assert operator.stop() == 0
        assert operator.troubles() == []
