"""Clients that others wrote: swaks, smtplib, aiosmtplib."""

from __future__ import annotations

import asyncio
import shutil
import smtplib
from email.message import EmailMessage

import aiosmtplib
import pytest

from tests.smtp_in.conftest import Serve
from tests.smtp_in.doors import SENDER, Doors
from tests.smtp_in.reception import PASSWORD, MemoryReception

LOGIN = "a@cabinet.mssante.test"
ASCII_PASSWORD = "mot-de-passe"
RECIPIENTS = ["b@cabinet.mssante.test", "c@cabinet.mssante.test"]
CONTENT = b"Subject: essai\r\n\r\n.un point\r\n..deux\r\nfin\r\n"


async def swaks(doors: Doors, door: str, *options: str) -> tuple[int, str]:
    """Its exit code and its account of the dialogue."""
    process = await asyncio.create_subprocess_exec(
        "swaks",
        *("--server", "127.0.0.1", "--port", str(doors.listeners.ports[door]), "--helo", "poste.cabinet.test"),
        *("--from", SENDER, "--to", RECIPIENTS[0], *options),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


needs_swaks = pytest.mark.skipif(shutil.which("swaks") is None, reason="swaks is not installed")


@needs_swaks
@pytest.mark.parametrize("pipelined", [(), ("--pipeline",)])
async def test_swaks_as_another_operator(pipelined: tuple[str, ...], serve: Serve, reception: MemoryReception) -> None:
    doors = await serve()
    pki = doors.pki.directory
    certificate = ("--tls-cert", str(pki / "clinique.pem"), "--tls-key", str(pki / "clinique.key"))
    code, said = await swaks(doors, "mx", "--tls", *certificate, *pipelined)
    assert code == 0, said
    assert "250 2.0.0 Message accepte: 00000001" in said
    assert len(reception.stored) == 1


@needs_swaks
@pytest.mark.parametrize(
    "options",
    [
        ("submission", "--tls", "--auth", "PLAIN"),
        ("submission", "--tls", "--auth", "LOGIN"),
        ("submissions", "--tls-on-connect", "--auth", "PLAIN"),
        ("submissions", "--tls-on-connect", "--auth", "LOGIN", "--pipeline"),
    ],
)
async def test_swaks_as_a_holder(options: tuple[str, ...], serve: Serve, reception: MemoryReception) -> None:
    code, said = await swaks(
        await serve(), *options, "--auth-user", LOGIN, "--auth-password", PASSWORD, "--auth-hide-password"
    )
    assert code == 0, said
    assert len(reception.stored) == 1


@needs_swaks
async def test_swaks_with_a_wrong_password(serve: Serve) -> None:
    code, said = await swaks(
        await serve(), "submissions", "--tls-on-connect", "--auth", "PLAIN", "--auth-user", LOGIN, "-ap", "faux"
    )
    assert code != 0
    assert "535 5.7.8" in said


@needs_swaks
async def test_swaks_in_clear(serve: Serve, reception: MemoryReception) -> None:
    code, said = await swaks(await serve(), "mx")
    assert code != 0
    assert "530 5.7.0" in said
    assert reception.said == []


async def test_smtplib(serve: Serve, reception: MemoryReception) -> None:
    doors = await serve()

    def send() -> dict[str, tuple[int, bytes]]:
        with smtplib.SMTP("127.0.0.1", doors.listeners.ports["submission"]) as client:
            client.starttls(context=doors.pki.client(None))
            client.login(LOGIN, ASCII_PASSWORD)
            return client.sendmail(SENDER, RECIPIENTS, CONTENT)

    reception.password = ASCII_PASSWORD  # smtplib writes no other
    assert await asyncio.to_thread(send) == {}
    assert reception.stored[0].content == CONTENT
    assert [address for address, _, _ in reception.stored[0].recipients] == RECIPIENTS


async def test_smtplib_implicit_tls(serve: Serve, reception: MemoryReception) -> None:
    doors = await serve()

    def send() -> None:
        with smtplib.SMTP_SSL(
            "127.0.0.1", doors.listeners.ports["submissions"], context=doors.pki.client(None)
        ) as client:
            client.login(LOGIN, ASCII_PASSWORD)
            client.sendmail(SENDER, RECIPIENTS, CONTENT, mail_options=["SMTPUTF8", "BODY=8BITMIME"])
            assert client.vrfy(LOGIN)[0] == 252
            assert client.docmd("EXPN tous")[0] == 502

    reception.password = ASCII_PASSWORD  # smtplib writes no other
    await asyncio.to_thread(send)
    assert reception.stored[0].smtputf8
    assert reception.stored[0].body == "8BITMIME"


async def test_aiosmtplib(serve: Serve, reception: MemoryReception) -> None:
    doors = await serve()
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = SENDER, RECIPIENTS[0], "Résultats"
    message.set_content("Bonjour,\n.\nà bientôt\n")
    errors, answer = await aiosmtplib.send(
        message,
        hostname="127.0.0.1",
        port=doors.listeners.ports["submissions"],
        use_tls=True,
        tls_context=doors.pki.client(None),
        username=LOGIN,
        password=PASSWORD,
    )
    assert errors == {}
    assert answer.startswith("2.0.0 Message accepte: ")
    content = reception.stored[0].content
    assert content is not None
    assert b"\r\n.\r\n" in content
