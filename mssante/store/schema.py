"""The tables of the store, the same for SQLite and PostgreSQL.

Always true here: times are microseconds since the epoch UTC (`*_us`); a patient's address stands in no column in clear;
every folder has its modseq counter and its uidnext, and every number handed out is greater than those before it; a row
of `message` is shared by all its entries and queue items and goes when the last of them goes.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from mssante.store.tables import Folded, Id, key, may, must, number, of

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

meta = Table("meta", metadata, *key(Text, "name"), *must(LargeBinary, "value"))

bal = Table(
    "bal",
    metadata,
    number(),
    *must(Text, "locator"),
    *may(LargeBinary, "sealed_address"),
    *must(Text, "type", "state"),
    *may(Text, "rpps", "adeli", "finess", "siret"),
    *must(Text, "responsable", default=""),
    *must(Text, "nom", "prenom"),
    *may(Text, "profession"),
    *must(Boolean, "liste_rouge"),
    *may(Text, "password_hash"),
    *must(BigInteger, "used_bytes"),
    *may(BigInteger, "quota_bytes"),
    *must(Integer, "warned_percent", default="0"),
    *must(BigInteger, "last_uidvalidity", "created_us"),
    *must(Text, "motif"),
    *must(Text, "closed_by", default=""),
    *may(BigInteger, "purged_us"),
    UniqueConstraint("locator"),
    Index(None, "rpps"),
    Index(None, "adeli"),
    sqlite_autoincrement=True,
)

credential = Table(
    "credential",
    metadata,
    number(),
    of("bal"),
    *must(Text, "kind", "name", "mark"),
    *may(Text, "password_hash"),
    *must(BigInteger, "created_us"),
    UniqueConstraint("bal_id", "kind", "name"),
    Index(None, "mark"),
    sqlite_autoincrement=True,
)

delegation = Table(
    "delegation",
    metadata,
    of("bal", key=True),
    *key(Text, "delegate", "right"),
    *must(BigInteger, "since_us"),
    Index(None, "delegate"),
)

patient = Table(
    "patient",
    metadata,
    of("bal", key=True),
    *must(LargeBinary, "sealed_identity"),
    *must(Text, "standing", default="open"),
)

matricule = Table(
    "matricule",
    metadata,
    *key(Text, "locator"),
    of("bal"),
    *must(LargeBinary, "sealed_matricule"),
    *must(BigInteger, "until_us"),
    Index(None, "bal_id"),
)

parent = Table(
    "parent",
    metadata,
    of("bal", "child_id", key=True),
    of("bal", "parent_id", key=True),
    *must(BigInteger, "until_us"),
    Index(None, "parent_id"),
)

patient_notice = Table(
    "patient_notice",
    metadata,
    of("bal", key=True),
    *may(BigInteger, "due_us"),
    *must(BigInteger, "arrived_us", "told_us"),
    *must(Integer, "attempts"),
    Index(None, "due_us"),
)

visit = Table(
    "visit",
    metadata,
    of("bal", key=True),
    *key(Integer, "month"),
    *must(Integer, "sessions"),
    *must(BigInteger, "last_us"),
    Index(None, "month"),
)
"""How often a bal was opened in a month (`year * 12 + month - 1`)."""

inactivity = Table(
    "inactivity", metadata, of("bal", key=True), *must(Integer, "warnings"), *must(BigInteger, "since_us", "warned_us")
)
"""An unused bal: since when it counts as unused, how many warnings it got since, and when the last one."""

folder = Table(
    "folder",
    metadata,
    number(),
    of("bal"),
    *must(Text, "name", "special_use"),
    *must(BigInteger, "uidvalidity", "uidnext", "highestmodseq"),
    *must(Integer, "messages", "unseen"),
    *must(BigInteger, "recent_from"),
    *must(Boolean, "subscribed"),
    UniqueConstraint("bal_id", "name"),
    sqlite_autoincrement=True,
)

subscription = Table("subscription", metadata, of("bal", key=True), *key(Text, "name"))

annotation = Table(
    "annotation",
    metadata,
    of("bal", key=True),
    *key(BigInteger, "folder_id"),
    *key(Text, "name"),
    *must(LargeBinary, "value"),
    Index(None, "folder_id"),
)

message = Table(
    "message",
    metadata,
    number(),
    *must(LargeBinary, "content_id"),
    *must(Text, "segment"),
    *must(BigInteger, "offset", "length"),
    *must(LargeBinary, "wrapped_key", "sealed_facts"),
    *must(BigInteger, "size", "received_us"),
    Index(None, "segment", "length"),
    sqlite_autoincrement=True,
)

entry = Table(
    "entry",
    metadata,
    Column("folder_id", Id, ForeignKey("folder.id"), primary_key=True),
    *key(BigInteger, "uid"),
    *must(BigInteger, "modseq"),
    Column("message_id", Id, ForeignKey("message.id"), nullable=False),
    *must(Integer, "flags"),
    *must(Text, "keywords"),
    *must(BigInteger, "internal_us"),
    *must(BigInteger, "saved_us", default="0"),
    Index(None, "folder_id", "modseq"),
    Index(None, "message_id"),
    sqlite_with_rowid=False,
)

expunged = Table(
    "expunged", metadata, of("folder", key=True), *key(BigInteger, "modseq", "uid"), sqlite_with_rowid=False
)

queue_item = Table(
    "queue_item",
    metadata,
    number(),
    Column("message_id", Id, ForeignKey("message.id", ondelete="SET NULL")),
    *must(LargeBinary, "sealed_sender", "sealed_recipient"),
    *must(Text, "domain", "state"),
    *may(BigInteger, "due_us"),
    *must(Integer, "attempts"),
    *may(Text, "lease_owner"),
    *may(LargeBinary, "sealed_reply"),
    *must(Integer, "notify"),
    *may(LargeBinary, "sealed_orcpt"),
    *must(Text, "envid", "ret"),
    *must(BigInteger, "created_us", "expires_us", "changed_us"),
    *may(Text, "accepted_as", "header_id"),
    Index(None, "due_us", "domain"),
    Index(None, "message_id"),
    Index(None, "accepted_as"),
    Index(None, "header_id"),
    Index(None, "envid"),
    sqlite_autoincrement=True,
)

exchange = Table(
    "exchange",
    metadata,
    *key(Text, "professional", "patient"),
    *must(LargeBinary, "sealed_patient"),
    *must(Text, "state"),
    *must(BigInteger, "since_us"),
    *must(Text, "message_id"),
    Index(None, "patient"),
)

introduction = Table(
    "introduction",
    metadata,
    *key(Text, "professional", "patient", "through"),
    *must(LargeBinary, "sealed_patient"),
    *must(BigInteger, "since_us"),
    *must(Text, "message_id"),
    Index(None, "patient", "through"),
)

ended_thread = Table(
    "ended_thread",
    metadata,
    *key(Text, "professional", "patient", "reference"),
    *must(Text, "ended_by"),
    Index(None, "patient"),
)

journal = Table(
    "journal",
    metadata,
    *key(BigInteger, "seq"),
    *must(BigInteger, "at_us"),
    *must(Text, "action", "actor", "object", "detail"),
    *must(LargeBinary, "hash"),
    Index(None, "object", "seq"),
)

journal_head = Table(
    "journal_head", metadata, *key(Integer, "id"), *must(BigInteger, "seq"), *must(LargeBinary, "hash", "mac")
)

hint = Table(
    "hint",
    metadata,
    number(),
    *must(Text, "origin", "kind", "key"),
    *must(BigInteger, "at_us"),
    sqlite_autoincrement=True,
)

annuaire_fiche = Table(
    "annuaire_fiche",
    metadata,
    number(),
    *must(BigInteger, "digest"),
    *must(Text, "origin", "address", "type", "holder"),
    *must(LargeBinary, "record"),
    *must(Integer, "born"),
    *may(Integer, "gone"),
    UniqueConstraint("digest"),
    Index(None, "origin"),
    Index(None, "address"),
    Index(None, "holder"),
    Index(None, "born"),
    Index(None, "gone", sqlite_where=text("gone IS NOT NULL"), postgresql_where=text("gone IS NOT NULL")),
)
"""The copy of the annuaire: a line is seen from generation `born` on, until generation `gone`. Its words stand in
`annuaire_words`, which each database has in its own form (FTS5, tsvector) and no Table describes."""

annuaire_mot = Table("annuaire_mot", metadata, *key(Folded, "mot"), *must(Folded, "inverse"), Index(None, "inverse"))

publication = Table(
    "publication",
    metadata,
    of("bal", key=True),
    *must(Text, "operation", "state"),
    *must(LargeBinary, "record"),
    *must(Text, "reference"),
    *must(Integer, "attempts"),
    *must(BigInteger, "due_us", "changed_us"),
    *must(Text, "report"),
    UniqueConstraint("reference"),
)

same_text = Table(
    "same_text",
    metadata,
    *key(LargeBinary, "mark"),
    *must(BigInteger, "since_us"),
    *must(LargeBinary, "recipients"),
    Index(None, "since_us"),
)
"""Who got one text of one sender: `mark` and `recipients` (eight octets each) are keyed hashes."""

correspondent = Table(
    "correspondent",
    metadata,
    *key(Text, "sender"),
    *key(LargeBinary, "recipient"),
    *must(BigInteger, "since_us"),
    Index(None, "since_us"),
    sqlite_with_rowid=False,
)

sending_day = Table(
    "sending_day",
    metadata,
    *key(Text, "sender"),
    *key(Integer, "day"),
    *must(Integer, "messages", "recipients", "novel"),
    Index(None, "day"),
)

signalement = Table(
    "signalement",
    metadata,
    number(),
    *must(BigInteger, "at_us"),
    *must(Text, "about", "kind", "reporter", "reference"),
    *may(BigInteger, "settled_us"),
    UniqueConstraint("about", "reporter", "reference"),
    sqlite_autoincrement=True,
)

sending_exception = Table(
    "sending_exception",
    metadata,
    *key(Text, "sender"),
    *must(Integer, "most"),
    *must(Text, "motif", "author"),
    *must(BigInteger, "since_us", "until_us"),
)

search_folder = Table(
    "search_folder", metadata, of("folder", key=True), *must(Integer, "made"), *must(BigInteger, "read_uid")
)
"""How far a folder was read for search: up to `read_uid` every entry has its text, in the form `made`."""

search_text = Table(
    "search_text", metadata, of("message", key=True), *must(Integer, "made"), *must(LargeBinary, "sealed")
)

search_block = Table(
    "search_block",
    metadata,
    number(),
    of("folder"),
    *must(BigInteger, "first_uid", "last_uid"),
    *must(Integer, "messages", "made"),
    *must(LargeBinary, "sealed_key"),
    UniqueConstraint("folder_id", "first_uid"),
    sqlite_autoincrement=True,
)

search_part = Table(
    "search_part", metadata, *key(BigInteger, "block_id"), *key(Integer, "part"), *must(LargeBinary, "sealed")
)
"""Parts outlive the row of their block, which holds the only copy of their key; a sweep takes them away."""
