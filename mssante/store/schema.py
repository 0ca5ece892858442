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

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Folded = Text().with_variant(Text(collation="C"), "postgresql")
"""Text that sorts by code point in both databases."""
Id = BigInteger().with_variant(Integer, "sqlite")

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

bal = Table(
    "bal",
    metadata,
    Column("id", Id, primary_key=True),
    Column("locator", Text, nullable=False, unique=True),
    Column("sealed_address", LargeBinary),
    Column("type", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("rpps", Text),
    Column("adeli", Text),
    Column("finess", Text),
    Column("siret", Text),
    Column("responsable", Text, nullable=False, server_default=""),
    Column("nom", Text, nullable=False),
    Column("prenom", Text, nullable=False),
    Column("profession", Text),
    Column("liste_rouge", Boolean, nullable=False),
    Column("password_hash", Text),
    Column("used_bytes", BigInteger, nullable=False),
    Column("quota_bytes", BigInteger),
    Column("warned_percent", Integer, nullable=False, server_default="0"),
    Column("last_uidvalidity", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("motif", Text, nullable=False),
    Column("closed_by", Text, nullable=False, server_default=""),
    Column("purged_us", BigInteger),
    Index(None, "rpps"),
    Index(None, "adeli"),
    sqlite_autoincrement=True,
)

credential = Table(
    "credential",
    metadata,
    Column("id", Id, primary_key=True),
    Column("bal_id", ForeignKey("bal.id", ondelete="CASCADE"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("mark", Text, nullable=False),
    Column("password_hash", Text),
    Column("created_us", BigInteger, nullable=False),
    UniqueConstraint("bal_id", "kind", "name"),
    Index(None, "mark"),
    sqlite_autoincrement=True,
)

delegation = Table(
    "delegation",
    metadata,
    Column("bal_id", ForeignKey("bal.id", ondelete="CASCADE"), primary_key=True),
    Column("delegate", Text, primary_key=True),
    Column("right", Text, primary_key=True),
    Column("since_us", BigInteger, nullable=False),
    Index(None, "delegate"),
)

patient = Table(
    "patient",
    metadata,
    Column("bal_id", ForeignKey("bal.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("sealed_identity", LargeBinary, nullable=False),
    Column("standing", Text, nullable=False, server_default="open"),
)

matricule = Table(
    "matricule",
    metadata,
    Column("locator", Text, primary_key=True),
    Column("bal_id", ForeignKey("bal.id", ondelete="CASCADE"), nullable=False),
    Column("sealed_matricule", LargeBinary, nullable=False),
    Column("until_us", BigInteger, nullable=False),
    Index(None, "bal_id"),
)

parent = Table(
    "parent",
    metadata,
    Column("child_id", ForeignKey("bal.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("parent_id", ForeignKey("bal.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("until_us", BigInteger, nullable=False),
    Index(None, "parent_id"),
)

patient_notice = Table(
    "patient_notice",
    metadata,
    Column("bal_id", ForeignKey("bal.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("due_us", BigInteger),
    Column("arrived_us", BigInteger, nullable=False),
    Column("told_us", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Index(None, "due_us"),
)

visit = Table(
    "visit",
    metadata,
    Column("bal_id", ForeignKey("bal.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("month", Integer, primary_key=True, autoincrement=False),
    Column("sessions", Integer, nullable=False),
    Column("last_us", BigInteger, nullable=False),
    Index(None, "month"),
)
"""How often a bal was opened in a month (`year * 12 + month - 1`)."""

inactivity = Table(
    "inactivity",
    metadata,
    Column("bal_id", ForeignKey("bal.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("warnings", Integer, nullable=False),
    Column("since_us", BigInteger, nullable=False),
    Column("warned_us", BigInteger, nullable=False),
)
"""An unused bal: since when it counts as unused, how many warnings it got since, and when the last one."""

folder = Table(
    "folder",
    metadata,
    Column("id", Id, primary_key=True),
    Column("bal_id", ForeignKey("bal.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("special_use", Text, nullable=False),
    Column("uidvalidity", BigInteger, nullable=False),
    Column("uidnext", BigInteger, nullable=False),
    Column("highestmodseq", BigInteger, nullable=False),
    Column("messages", Integer, nullable=False),
    Column("unseen", Integer, nullable=False),
    Column("recent_from", BigInteger, nullable=False),
    Column("subscribed", Boolean, nullable=False),
    UniqueConstraint("bal_id", "name"),
    sqlite_autoincrement=True,
)

subscription = Table(
    "subscription",
    metadata,
    Column("bal_id", ForeignKey("bal.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
)

annotation = Table(
    "annotation",
    metadata,
    Column("bal_id", ForeignKey("bal.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("folder_id", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    Index(None, "folder_id"),
)

message = Table(
    "message",
    metadata,
    Column("id", Id, primary_key=True),
    Column("content_id", LargeBinary, nullable=False),
    Column("segment", Text, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("length", BigInteger, nullable=False),
    Column("wrapped_key", LargeBinary, nullable=False),
    Column("sealed_facts", LargeBinary, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("received_us", BigInteger, nullable=False),
    Index(None, "segment", "length"),
    sqlite_autoincrement=True,
)

entry = Table(
    "entry",
    metadata,
    Column("folder_id", ForeignKey("folder.id"), primary_key=True),
    Column("uid", BigInteger, primary_key=True),
    Column("modseq", BigInteger, nullable=False),
    Column("message_id", ForeignKey("message.id"), nullable=False),
    Column("flags", Integer, nullable=False),
    Column("keywords", Text, nullable=False),
    Column("internal_us", BigInteger, nullable=False),
    Column("saved_us", BigInteger, nullable=False, server_default="0"),
    Index(None, "folder_id", "modseq"),
    Index(None, "message_id"),
    sqlite_with_rowid=False,
)

expunged = Table(
    "expunged",
    metadata,
    Column("folder_id", ForeignKey("folder.id", ondelete="CASCADE"), primary_key=True),
    Column("modseq", BigInteger, primary_key=True),
    Column("uid", BigInteger, primary_key=True),
    sqlite_with_rowid=False,
)

queue_item = Table(
    "queue_item",
    metadata,
    Column("id", Id, primary_key=True),
    Column("message_id", ForeignKey("message.id", ondelete="SET NULL")),
    Column("sealed_sender", LargeBinary, nullable=False),
    Column("sealed_recipient", LargeBinary, nullable=False),
    Column("domain", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("due_us", BigInteger),
    Column("attempts", Integer, nullable=False),
    Column("lease_owner", Text),
    Column("sealed_reply", LargeBinary),
    Column("notify", Integer, nullable=False),
    Column("sealed_orcpt", LargeBinary),
    Column("envid", Text, nullable=False),
    Column("ret", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("changed_us", BigInteger, nullable=False),
    Column("accepted_as", Text),
    Column("header_id", Text),
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
    Column("professional", Text, primary_key=True),
    Column("patient", Text, primary_key=True),
    Column("sealed_patient", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),
    Column("since_us", BigInteger, nullable=False),
    Column("message_id", Text, nullable=False),
    Index(None, "patient"),
)

introduction = Table(
    "introduction",
    metadata,
    Column("professional", Text, primary_key=True),
    Column("patient", Text, primary_key=True),
    Column("through", Text, primary_key=True),
    Column("sealed_patient", LargeBinary, nullable=False),
    Column("since_us", BigInteger, nullable=False),
    Column("message_id", Text, nullable=False),
    Index(None, "patient", "through"),
)

ended_thread = Table(
    "ended_thread",
    metadata,
    Column("professional", Text, primary_key=True),
    Column("patient", Text, primary_key=True),
    Column("reference", Text, primary_key=True),
    Column("ended_by", Text, nullable=False),
    Index(None, "patient"),
)

journal = Table(
    "journal",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, nullable=False),
    Column("action", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Index(None, "object", "seq"),
)

journal_head = Table(
    "journal_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("mac", LargeBinary, nullable=False),
)

hint = Table(
    "hint",
    metadata,
    Column("id", Id, primary_key=True),
    Column("origin", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

annuaire_fiche = Table(
    "annuaire_fiche",
    metadata,
    Column("id", Id, primary_key=True),
    Column("digest", BigInteger, nullable=False, unique=True),
    Column("origin", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("holder", Text, nullable=False),
    Column("record", LargeBinary, nullable=False),
    Column("born", Integer, nullable=False),
    Column("gone", Integer),
    Index(None, "origin"),
    Index(None, "address"),
    Index(None, "holder"),
    Index(None, "born"),
    Index(None, "gone", sqlite_where=text("gone IS NOT NULL"), postgresql_where=text("gone IS NOT NULL")),
)
"""The copy of the annuaire: a line is seen from generation `born` on, until generation `gone`. Its words stand in
`annuaire_words`, which each database has in its own form (FTS5, tsvector) and no Table describes."""

annuaire_mot = Table(
    "annuaire_mot",
    metadata,
    Column("mot", Folded, primary_key=True),
    Column("inverse", Folded, nullable=False),
    Index(None, "inverse"),
)

publication = Table(
    "publication",
    metadata,
    Column("bal_id", ForeignKey("bal.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("operation", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("record", LargeBinary, nullable=False),
    Column("reference", Text, nullable=False, unique=True),
    Column("attempts", Integer, nullable=False),
    Column("due_us", BigInteger, nullable=False),
    Column("changed_us", BigInteger, nullable=False),
    Column("report", Text, nullable=False),
)

same_text = Table(
    "same_text",
    metadata,
    Column("mark", LargeBinary, primary_key=True),
    Column("since_us", BigInteger, nullable=False),
    Column("recipients", LargeBinary, nullable=False),
    Index(None, "since_us"),
)
"""Who got one text of one sender: `mark` and `recipients` (eight octets each) are keyed hashes."""

correspondent = Table(
    "correspondent",
    metadata,
    Column("sender", Text, primary_key=True),
    Column("recipient", LargeBinary, primary_key=True),
    Column("since_us", BigInteger, nullable=False),
    Index(None, "since_us"),
    sqlite_with_rowid=False,
)

sending_day = Table(
    "sending_day",
    metadata,
    Column("sender", Text, primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("messages", Integer, nullable=False),
    Column("recipients", Integer, nullable=False),
    Column("novel", Integer, nullable=False),
    Index(None, "day"),
)

signalement = Table(
    "signalement",
    metadata,
    Column("id", Id, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("about", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("reporter", Text, nullable=False),
    Column("reference", Text, nullable=False),
    Column("settled_us", BigInteger),
    UniqueConstraint("about", "reporter", "reference"),
    sqlite_autoincrement=True,
)

sending_exception = Table(
    "sending_exception",
    metadata,
    Column("sender", Text, primary_key=True),
    Column("most", Integer, nullable=False),
    Column("motif", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("since_us", BigInteger, nullable=False),
    Column("until_us", BigInteger, nullable=False),
)

search_folder = Table(
    "search_folder",
    metadata,
    Column("folder_id", ForeignKey("folder.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("made", Integer, nullable=False),
    Column("read_uid", BigInteger, nullable=False),
)
"""How far a folder was read for search: up to `read_uid` every entry has its text, in the form `made`."""

search_text = Table(
    "search_text",
    metadata,
    Column("message_id", ForeignKey("message.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("made", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)

search_block = Table(
    "search_block",
    metadata,
    Column("id", Id, primary_key=True),
    Column("folder_id", ForeignKey("folder.id", ondelete="CASCADE"), nullable=False),
    Column("first_uid", BigInteger, nullable=False),
    Column("last_uid", BigInteger, nullable=False),
    Column("messages", Integer, nullable=False),
    Column("made", Integer, nullable=False),
    Column("sealed_key", LargeBinary, nullable=False),
    UniqueConstraint("folder_id", "first_uid"),
    sqlite_autoincrement=True,
)

search_part = Table(
    "search_part",
    metadata,
    Column("block_id", BigInteger, primary_key=True, autoincrement=False),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("sealed", LargeBinary, nullable=False),
)
"""Parts outlive the row of their block, which holds the only copy of their key; a sweep takes them away."""
