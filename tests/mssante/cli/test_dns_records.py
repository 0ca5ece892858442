"""What `doctor` tells an operator to publish."""

import msgspec

from mssante.cli.dns_records import dns_records
from mssante.settings import Listen, Operator, Settings

OPERATOR = Operator(name="Cabinet", hostname="mx.cabinet.test", domains=("cabinet.test",))


def test_every_door_has_its_record() -> None:
    listen = Listen(mx=25, imaps=993, imap=143, submissions=465, submission=587, portal=443)
    assert list(dns_records(Settings(operator=OPERATOR, listen=listen))) == [
        "cabinet.test. MX 10 mx.cabinet.test.",
        "_imaps._tcp.cabinet.test. SRV 0 1 993 mx.cabinet.test.",
        "_imap._tcp.cabinet.test. SRV 10 1 143 mx.cabinet.test.",
        "_submissions._tcp.cabinet.test. SRV 0 1 465 mx.cabinet.test.",
        "_submission._tcp.cabinet.test. SRV 10 1 587 mx.cabinet.test.",
        "_autodiscover._tcp.cabinet.test. SRV 0 1 443 mx.cabinet.test.",
        "autoconfig.cabinet.test. CNAME mx.cabinet.test.",
        "autodiscover.cabinet.test. CNAME mx.cabinet.test.",
    ]


def test_a_shut_door_is_said_to_be_shut() -> None:
    operator = msgspec.structs.replace(OPERATOR, domains=(), patient_domain="patient.mssante.fr")
    listen = Listen(mx=0, imaps=993, imap=0, submissions=465, submission=0, portal=0)
    assert list(dns_records(Settings(operator=operator, listen=listen))) == [
        "_imaps._tcp.patient.mssante.fr. SRV 0 1 993 mx.cabinet.test.",
        "_imap._tcp.patient.mssante.fr. SRV 0 0 0 .",
        "_submissions._tcp.patient.mssante.fr. SRV 0 1 465 mx.cabinet.test.",
        "_submission._tcp.patient.mssante.fr. SRV 0 0 0 .",
    ]
