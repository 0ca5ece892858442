"""The first tables.

Revision ID: 0001
"""

from alembic import op
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Text,
    UniqueConstraint,
)

from mssante.store.tables import Id, key, may, must, number, of

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "bal",
        number(),
        *must(Text, "locator"),
        *may(LargeBinary, "sealed_address"),
        *must(Text, "type", "state"),
        *may(Text, "rpps", "adeli", "finess"),
        *must(Text, "nom", "prenom"),
        *may(Text, "profession"),
        *must(Boolean, "liste_rouge"),
        *may(Text, "password_hash"),
        *must(BigInteger, "used_bytes"),
        *may(BigInteger, "quota_bytes"),
        *must(BigInteger, "last_uidvalidity", "created_us"),
        *must(Text, "motif"),
        UniqueConstraint("locator"),
        Index(None, "rpps"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "exchange",
        *key(Text, "professional", "patient"),
        *must(LargeBinary, "sealed_patient"),
        *must(Text, "state"),
        *must(BigInteger, "since_us"),
        *must(Text, "message_id"),
        Index(None, "patient"),
    )
    op.create_table(
        "hint", number(), *must(Text, "origin", "kind", "key"), *must(BigInteger, "at_us"), sqlite_autoincrement=True
    )
    op.create_table(
        "journal",
        *key(BigInteger, "seq"),
        *must(BigInteger, "at_us"),
        *must(Text, "action", "actor", "object", "detail"),
        *must(LargeBinary, "hash"),
        Index(None, "object", "seq"),
    )
    op.create_table("journal_head", *key(Integer, "id"), *must(BigInteger, "seq"), *must(LargeBinary, "hash", "mac"))
    op.create_table(
        "message",
        number(),
        *must(LargeBinary, "content_id"),
        *must(Text, "segment"),
        *must(BigInteger, "offset", "length"),
        *must(LargeBinary, "wrapped_key", "sealed_facts"),
        *must(BigInteger, "size", "received_us"),
        Index(None, "segment", "length"),
        sqlite_autoincrement=True,
    )
    op.create_table("meta", *key(Text, "name"), *must(LargeBinary, "value"))
    op.create_table(
        "delegation",
        of("bal", key=True),
        *key(Text, "delegate", "right"),
        *must(BigInteger, "since_us"),
        Index(None, "delegate"),
    )
    op.create_table(
        "folder",
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
    op.create_table("patient", of("bal", key=True), *must(LargeBinary, "sealed_identity"))
    op.create_table(
        "queue_item",
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
        Index(None, "due_us", "domain"),
        Index(None, "message_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "entry",
        Column("folder_id", Id, ForeignKey("folder.id"), primary_key=True),
        *key(BigInteger, "uid"),
        *must(BigInteger, "modseq"),
        Column("message_id", Id, ForeignKey("message.id"), nullable=False),
        *must(Integer, "flags"),
        *must(Text, "keywords"),
        *must(BigInteger, "internal_us"),
        Index(None, "folder_id", "modseq"),
        Index(None, "message_id"),
        sqlite_with_rowid=False,
    )
    op.create_table("expunged", of("folder", key=True), *key(BigInteger, "modseq", "uid"), sqlite_with_rowid=False)
