"""Memory and many: large messages, readers that do not read, a thousand connections, against a serving operator.

Memory is asked of the kernel, never of a clock: what the operator's process took at most while something went on.
"""

import json
import mailbox
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.operators import HOST, Network, Operator, until
from tests.system.people import Person, professional

MEGABYTE = 1_000_000
_CLIENTS = Path(__file__).parent / "thousand_clients.py"


def fill(person: Person, folder: Path, messages: list[bytes]) -> None:
    """Messages in the INBOX, as if they had come from another operator's store."""
    box = mailbox.Maildir(folder)
    for message in messages:
        box.add(message)
    person.operator.run("bal", "load", person.address, "--from", str(folder))


def take(operator: Operator, act: Callable[[], None]) -> int:
    """By how many KiB `act` made the operator's memory grow at most."""
    before = operator.status_kib("VmRSS")
    Path(f"/proc/{operator.pid}/clear_refs").write_text("5")  # VmHWM begins anew
    act()
    return operator.status_kib("VmHWM") - before


def test_25_megabytes_and_readers_that_do_not_read_take_constant_memory(
    own_network: Network, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    here = own_network.cabinet
    reader = professional(here)
    head = b"From: a@clinique.test\nSubject: imagerie\nMIME-Version: 1.0\nContent-Type: application/dicom\n\n"
    fill(reader, tmp_path / "mail", [head + b"".join(b"%076d\n" % line for line in range(25 * MEGABYTE // 78))])
    own_network.serve(here)
    with reader.imap() as inbox:

        def whole() -> None:
            answer, parts = inbox.session.fetch("1", "(BODY.PEEK[])")
            assert answer == "OK"
            assert isinstance(parts[0], tuple)
            assert len(parts[0][1]) > 24 * MEGABYTE

        whole()  # what the first one loads stays
        # What the house does beside it once in a while is no part of it.
        grown = {"one that reads": min(take(here, whole) for _ in range(3))}
        grown["one that does not"] = take(here, lambda: slow(reader, 20, inbox.session.noop)) // 20
    record_property("grown KiB", grown)
    assert all(kib < 1024 for kib in grown.values()), grown
    assert here.stop() == 0
    assert here.troubles() == []


def slow(reader: Person, count: int, other: Callable[[], object]) -> None:
    """So many clients ask for all and read nothing, until the operator has done what it can; `other`: a command of
    somebody else."""
    sockets = [signed_in(reader) for _ in range(count)]
    for session in sockets:
        session.sendall(b"a2 FETCH 1 (BODY.PEEK[])\r\n")
    quiet, sent = 0, -1
    while quiet < 20:  # 20 commands of another client, and not one octet more came to those who do not read
        other()
        waiting = queued(reader.operator.port_of("imaps"))
        quiet, sent = (quiet + 1 if waiting == sent else 0), waiting
    for session in sockets:
        session.close()


def signed_in(reader: Person) -> ssl.SSLSocket:
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
    raw.settimeout(120)
    raw.connect((HOST, reader.operator.port_of("imaps")))
    session = reader.operator.trust().wrap_socket(raw, server_hostname="localhost")
    session.sendall(f'a0 LOGIN {reader.address} "{reader.password}"\r\na1 SELECT INBOX\r\n'.encode())
    read_to(session, b"a1 OK")
    return session


def read_to(session: ssl.SSLSocket, words: bytes) -> None:
    seen = b""
    while words not in seen or not seen.endswith(b"\r\n"):
        octets = session.recv(4096)
        assert octets, seen
        seen += octets


def queued(port: int) -> int:
    """Octets that wait in the sockets of all connections to a port, at both ends."""
    total = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        if f":{port:04X}" in (local[-5:], remote[-5:]):
            total += sum(int(octets, 16) for octets in queues.split(":"))
    return total


def test_a_thousand_connections_are_served_and_the_next_is_told_why_not(
    own_network: Network, record_property: Callable[[str, object], None]
) -> None:
    here = own_network.cabinet
    here.set("imap", connections=1000)
    martin = professional(here)
    own_network.serve(here)
    before = here.status_kib("VmRSS")
    clients = subprocess.Popen(
        [sys.executable, str(_CLIENTS), str(here.port_of("imaps")), str(here.directory / "pki" / "ca.pem")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert clients.stdin is not None
        assert clients.stdout is not None
        clients.stdin.write(json.dumps([martin.address, martin.password, 1000]) + "\n")
        clients.stdin.flush()
        assert clients.stdout.readline() == "1000 idle\n"
        each = (here.status_kib("VmRSS") - before) / 1000
        with socket.create_connection((HOST, here.port_of("imap")), 10) as next_one:
            assert next_one.recv(100).startswith(b"* BYE [UNAVAILABLE] ")
            assert next_one.recv(100) == b""
        martin.send(martin.letter(martin.address), martin.address)
        assert clients.stdout.readline() == "1000 heard\n"
        clients.stdin.write("\n")
        clients.stdin.flush()
        assert clients.stdout.readline() == "1000 left\n"
        assert clients.wait(30) == 0
    finally:
        clients.kill()
        clients.communicate()
    record_property("KiB a connection", each)
    print(each, "KiB a connection")
    assert each < 80
    until(lambda: here.figures()["mssante_imap_connections"] == 0, "nobody left")
    with martin.imap() as inbox:
        assert inbox.count() == 1
    assert here.stop() == 0
    assert here.troubles() == []
