"""SEARCH says the same whether nothing, something or all was read for it; what is erased leaves nothing to read."""

import asyncio
import os
import signal
import subprocess
import sys
import tracemalloc
from base64 import b64encode, encodebytes
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import LargeBinary, Text, delete, func, select, text, update

from mssante.mime.scanner import Scanner
from mssante.mime.text import Wanted, fold, message_text, plain
from mssante.services.searching import Reading, Search, catch_up, keep_in_step
from mssante.store import Conn, PendingContent, Store, Tx
from mssante.store.mail import NewMessage, add_message, copy, create_folder, delete_folder, deliver, entries, expunge
from mssante.store.schema import metadata, search_block, search_folder, search_part, search_text
from mssante.store.search_upkeep import behind, faults, forget, step, sweep
from mssante.store.search_words import BLOCK
from mssante.store.verify import verify
from tests.mssante.store.made import inbox_of, make_bals, open_store, pending
from tests.support.clock import FakeClock

READING, EXACT = Reading(), Reading(exact=True)
PREPEND = b"Received: from mx.clinique.test by mx.cabinet.test; Mon, 3 Nov 2025 09:00:00 +0000\r\n"


def mail(subject: str, body: str, charset: str = "utf-8", kind: str = "plain", encoding: str = "8bit") -> bytes:
    octets = body.encode(charset, "replace")
    if encoding == "base64":
        octets = encodebytes(octets)
    words = b64encode(subject.encode(charset, "replace")).decode()
    return (
        f"From: =?{charset}?b?{b64encode('Zoé Lefèvre'.encode(charset, 'replace')).decode()}?= <zoe@clinique.test>\r\n"
        f"To: Équipe <a@cabinet.test>\r\nSubject: =?{charset}?b?{words}?=\r\nX-MSS-MES: oui\r\n"
        f"Content-Type: text/{kind}; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    ).encode() + octets


CORPUS = [
    mail("Créatinine élevée", "Le cœur est régulier,\r\nl’œdème a disparu."),
    mail("Résultats", "Le patient a été reçu aux urgences", "iso-8859-1"),
    mail("Été", "D’après l’œil du médecin…", "windows-1252", encoding="base64"),
    mail("HTML", "<p>Compte&nbsp;rendu</p><p>d&eacute;taill&eacute;</p><script>non</script>", kind="html"),
    mail("жалоба", "боль в груди", "koi8-r"),
    mail("診断", "診断書を送ります", "iso-2022-jp", encoding="base64"),
    b"Subject: =?utf-8?q?cass=C3?= =?utf-8?q?=A9?=\r\n\r\nsans type\xff\xe9",
    b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\nouvert et jamais clos",
    b"\r\n\r\n",
    b"Subject: " + b"(" * 2000 + b"\r\nContent-Type: text/html; charset=\xff\r\n\r\n" + b"<div>" * 3000 + b"fond",
    b"Subject: NUL\r\nContent-Transfer-Encoding: base64\r\n\r\n" + encodebytes(b"avant\0apres"),
]
ASKED = [
    *(Wanted(fold(words)) for words in ("cœur", "oedeme", "L'ŒIL", "compte rendu", "détaillé", "non", "clos", "груди")),
    *(Wanted(fold(words)) for words in ("診断", "avantapres", "mot17", "ot1", "e", "", ", ", "aucun message", "fond")),
    *(Wanted(fold(words), whole=True) for words in ("zoe", "résultats", "clinique.test>", "cassé", "base64")),
    *(Wanted(fold(words), "subject") for words in ("ete", "creatinine", "診", "n 12", "((((", "")),
    Wanted("lefevre", "from"),
    Wanted("equipe <a@", "to"),
    Wanted("", "bcc"),
    Wanted("oui", "x-mss-mes"),
    Wanted("", "x-mss-mes"),
    Wanted("cabinet.test; mon", "received"),
]


def put(store: Store, bal_ids: Sequence[int], messages: Sequence[bytes]) -> None:
    """As arrivals, all in one transaction."""
    made = []
    for octets in messages:
        scanner = Scanner()
        scanner.feed(octets)
        made.append((pending(store, octets), scanner.finish().encode()))

    def arrive(tx: Tx, made: Sequence[tuple[PendingContent, bytes]]) -> None:
        for content, card in made:
            deliver(tx, add_message(tx, NewMessage(content, tx.now_us, PREPEND, card)), bal_ids)

    store.write_now(arrive, made, contents=[content for content, _ in made])


def read_all(store: Store, folder_id: int) -> None:
    while step(store, folder_id, READING):
        continue


def count(store: Store, table: object) -> int:
    return store.read_now(lambda conn: conn.execute(select(func.count()).select_from(table)).scalar_one())  # type: ignore[arg-type]


async def found(store: Store, folder_id: int, wanted: Wanted, reading: Reading = READING) -> list[int]:
    held = store.read_now(entries, folder_id)
    uids, ids = [one.uid for one in held], [one.message_id for one in held]
    search = Search(store, reading)
    uids_meant = await search.find(folder_id, uids, ids, wanted.text, field=wanted.field, whole=wanted.whole)
    return [uid for uid in uids if uid in uids_meant]


def said(messages: Sequence[bytes], reading: Reading = READING) -> dict[int, str]:
    """What a plain reading makes of messages, by uids from 1."""
    texts = {}
    for uid, octets in enumerate(messages, 1):
        scanner = Scanner()
        scanner.feed(octets)
        form = plain if reading.exact else fold
        texts[uid] = message_text(lambda start, end, octets=octets: octets[start:end], scanner.finish(), PREPEND, form)  # type: ignore[misc]
    return texts


def truth(texts: dict[int, str], wanted: Wanted) -> list[int]:
    return [uid for uid, text in texts.items() if wanted.found_in(text)]


@pytest.fixture
def bal(store: Store) -> int:
    return make_bals(store, "a")[0]


async def test_the_answer_does_not_depend_on_what_was_read(store: Store, bal: int) -> None:
    """Nothing read, texts of some, of all, a block and a tail, after expunging, after reading again."""
    folder = inbox_of(store, bal)
    filler = [mail(f"Bilan n° {n}", f"mot{n} suite du traitement") for n in range(BLOCK + 30)]
    messages = filler[:40] + CORPUS + filler[40:] + CORPUS[:2]
    texts = said(messages)
    put(store, [bal], messages[:-2])
    late = {uid: texts.pop(uid) for uid in (len(messages) - 1, len(messages))}

    async def agree(asked: Sequence[Wanted]) -> None:
        for wanted in asked:
            assert await found(store, folder, wanted) == truth(texts, wanted), wanted

    await agree(ASKED[::9])
    for _ in range(3):
        assert step(store, folder, READING)
    await agree(ASKED[1::9])
    read_all(store, folder)
    assert count(store, search_block) == 1
    assert count(store, search_text) == len(messages) - 2
    await agree(ASKED)
    for uid in (7, 43, BLOCK + 1):
        store.write_now(expunge, folder, [uid])
        del texts[uid]
    await agree(ASKED[::3])
    put(store, [bal], messages[-2:])
    texts |= late
    read_all(store, folder)
    await agree(ASKED)
    assert store.read_now(behind, READING) == []
    assert faults(store) == []


@pytest.mark.parametrize("read", [False, True])
async def test_to_the_letter(store: Store, bal: int, read: bool) -> None:
    put(store, [bal], CORPUS)
    folder, texts = inbox_of(store, bal), said(CORPUS, EXACT)
    if read:
        read_all(store, folder)
    for words in ("cœur", "coeur", "ŒDÈME", "l’œil", "l'œil", "est régulier,\r\nl’œ", "est regulier", "診断"):
        wanted = Wanted(plain(words))
        assert await found(store, folder, wanted, EXACT) == truth(texts, wanted), words
    assert await found(store, folder, Wanted("coeur"), EXACT) == []
    assert await found(store, folder, Wanted("cœur"), EXACT) == [1]


async def test_to_the_letter_where_blocks_know_only_folded_words(sqlite_store: Store) -> None:
    store = sqlite_store
    (bal,) = make_bals(store, "a")
    put(store, [bal], CORPUS + [mail("x", f"mot{n}") for n in range(BLOCK)])
    folder = inbox_of(store, bal)
    read_all(store, folder)
    assert count(store, search_block) == 1
    assert await found(store, folder, Wanted(plain("été")), EXACT) == [2]
    assert await found(store, folder, Wanted(plain("Été"), "subject"), EXACT) == [3]
    assert await found(store, folder, Wanted("ete"), EXACT) == []


async def test_one_text_serves_all_who_got_the_message(store: Store) -> None:
    first, second = make_bals(store, "a", "b")
    put(store, [first, second], CORPUS)
    read_all(store, inbox_of(store, first))
    assert count(store, search_text) == len(CORPUS)
    catch_up(store, READING, second)
    assert count(store, search_text) == len(CORPUS)
    store.write_now(expunge, inbox_of(store, first), [1])
    assert count(store, search_text) == len(CORPUS)
    store.write_now(expunge, inbox_of(store, second), [1])
    assert count(store, search_text) == len(CORPUS) - 1
    assert await found(store, inbox_of(store, second), Wanted("coeur")) == []


def test_what_is_erased_can_not_be_read_any_more(store: Store, bal: int) -> None:
    """The text goes with its message, the block's key with the first message of it that goes, in one transaction."""
    folder = inbox_of(store, bal)
    put(store, [bal], [*CORPUS, *(mail("x", f"mot{n}") for n in range(BLOCK))])
    read_all(store, folder)
    texts = count(store, search_text)
    assert count(store, search_block) == 1
    store.write_now(expunge, folder, [3])
    assert (count(store, search_text), count(store, search_block)) == (texts - 1, 0)
    store.write_now(sweep)
    assert count(store, search_part) == 0


def test_copies_and_deleted_folders(store: Store, bal: int) -> None:
    put(store, [bal], [mail("x", f"mot{n}") for n in range(BLOCK)])
    other = store.write_now(create_folder, bal, "Autre")
    store.write_now(copy, inbox_of(store, bal), list(range(1, BLOCK + 1)), other)
    catch_up(store, READING, bal)
    assert (count(store, search_text), count(store, search_block)) == (BLOCK, 2)
    store.write_now(delete_folder, other)
    store.write_now(sweep)
    assert (count(store, search_text), count(store, search_block)) == (BLOCK, 1)
    assert faults(store) == []


def test_nothing_is_kept_in_clear(store: Store, bal: int) -> None:
    put(store, [bal], [mail("Hypertension", "hypertension"), *(mail("x", f"mot{n}") for n in range(BLOCK))])
    read_all(store, inbox_of(store, bal))

    def clear(conn: Conn) -> list[str]:
        told = []
        for table in metadata.sorted_tables:
            columns = [column for column in table.c if isinstance(column.type, LargeBinary | Text)]
            for row in conn.execute(select(*columns)) if columns else ():
                said = b" ".join(value if isinstance(value, bytes) else str(value).encode() for value in row)
                if b"hypertension" in said.lower() or b"mot17" in said:
                    told.append(table.name)
        return told

    assert store.read_now(clear) == []


async def test_the_task_reads_what_came_when_nothing_comes(store: Store, bal: int) -> None:
    put(store, [bal], CORPUS)
    task = asyncio.create_task(keep_in_step(store, READING, look_s=0))
    try:
        while await store.read(behind, READING):
            assert not task.done()
        put(store, [bal], CORPUS[:1])
        while await store.read(behind, READING):
            assert not task.done()
    finally:
        task.cancel()
    assert count(store, search_text) == len(CORPUS) + 1


CHILD = """
import os, signal, sys
from pathlib import Path
from tests.mssante.store.made import open_store
from tests.mssante.store.test_search import READING, step
from tests.support.clock import FakeClock
store = open_store(Path(sys.argv[1]), "sqlite:///data/mssante.db", FakeClock(), create=False)
for _ in range(int(sys.argv[3])):
    step(store, int(sys.argv[2]), READING)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("steps", [0, 9, 18])
async def test_killed_while_it_reads(tmp_path: Path, clock: FakeClock, steps: int) -> None:
    """After the arrival, among the texts, before and after the block."""
    messages = [*CORPUS, *(mail("x", f"mot{n}") for n in range(BLOCK))]
    texts = said(messages)
    store = open_store(tmp_path, "sqlite:///data/mssante.db", clock)
    (bal,) = make_bals(store, "a")
    folder = inbox_of(store, bal)
    put(store, [bal], messages)
    store.close()
    child = subprocess.run([sys.executable, "-c", CHILD, str(tmp_path), str(folder), str(steps)], check=False)  # noqa: ASYNC221
    assert child.returncode == -signal.SIGKILL
    store = open_store(tmp_path, "sqlite:///data/mssante.db", clock, create=False)
    try:
        assert faults(store) == []
        for wanted in (Wanted("coeur"), Wanted("mot17"), Wanted("x", "subject")):
            assert await found(store, folder, wanted) == truth(texts, wanted)
        read_all(store, folder)
        assert (count(store, search_block), faults(store)) == (1, [])
        assert await found(store, folder, Wanted("mot17")) == truth(texts, Wanted("mot17"))
    finally:
        store.close()


@pytest.mark.parametrize(
    "harm",
    [
        delete(search_text).where(search_text.c.message_id == 3),
        update(search_text).where(search_text.c.message_id == 3).values(sealed=b"x" * 40),
        delete(search_part).where(search_part.c.part == 7),
        update(search_part).where(search_part.c.part == 0).values(sealed=b"x" * 40),
        update(search_block).values(last_uid=search_block.c.last_uid - 1),
        update(search_block).values(sealed_key=b"x" * 60),
        update(search_folder).values(read_uid=search_folder.c.read_uid + 10**6),
    ],
)
async def test_verify_notices_and_it_is_made_anew(sqlite_store: Store, harm: object) -> None:
    store = sqlite_store
    (bal,) = make_bals(store, "a")
    folder = inbox_of(store, bal)
    messages = [*CORPUS, *(mail("x", f"mot{n}") for n in range(BLOCK + 5))]
    put(store, [bal], messages)
    read_all(store, folder)
    store.write_now(lambda tx: tx.conn.execute(harm) and None)  # type: ignore[call-overload]
    if "read_uid" in str(harm):
        put(store, [bal], CORPUS[:1])
    noticed = verify(store)
    assert noticed.faults == []
    assert {folder_id for folder_id, _ in noticed.search} == {folder}
    if "last_uid" not in str(harm):  # that is no damage but a forgery under the master key
        assert await found(store, folder, Wanted("mot1017")) == [len(CORPUS) + 1018]
    store.write_now(forget, folder)
    store.write_now(sweep)
    read_all(store, folder)
    assert (verify(store).search, count(store, search_block)) == ([], 1)


async def test_a_message_that_can_not_be_read_stops_nobody(store: Store, bal: int) -> None:
    put(store, [bal], CORPUS)
    folder = inbox_of(store, bal)
    store.write_now(lambda tx: tx.conn.execute(text("UPDATE message SET length = length + 7 WHERE id = 2")) and None)
    assert await found(store, folder, Wanted("coeur")) == [1]
    read_all(store, folder)
    assert count(store, search_text) == len(CORPUS)
    assert await found(store, folder, Wanted("coeur")) == [1]


def test_25_mb_are_read_in_little_memory(sqlite_store: Store) -> None:
    store = sqlite_store
    (bal,) = make_bals(store, "a")
    attachment = encodebytes(os.urandom(19_000_000))
    put(
        store,
        [bal],
        [
            b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nle texte\r\n--x\r\n"
            b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n" + attachment + b"\r\n--x--\r\n"
        ],
    )
    del attachment
    tracemalloc.start()
    try:
        read_all(store, inbox_of(store, bal))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count(store, search_text) == 1
    assert peak < 2_000_000
