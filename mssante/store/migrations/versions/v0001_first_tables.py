"""The first tables.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "bal",
        sa.Column("id", ID, nullable=False),
        sa.Column("locator", sa.Text(), nullable=False),
        sa.Column("sealed_address", sa.LargeBinary(), nullable=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("rpps", sa.Text(), nullable=True),
        sa.Column("adeli", sa.Text(), nullable=True),
        sa.Column("finess", sa.Text(), nullable=True),
        sa.Column("nom", sa.Text(), nullable=False),
        sa.Column("prenom", sa.Text(), nullable=False),
        sa.Column("profession", sa.Text(), nullable=True),
        sa.Column("liste_rouge", sa.Boolean(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("used_bytes", sa.BigInteger(), nullable=False),
        sa.Column("quota_bytes", sa.BigInteger(), nullable=True),
        sa.Column("last_uidvalidity", sa.BigInteger(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("motif", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_bal"),
        sa.UniqueConstraint("locator", name="uq_bal_locator"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_bal_rpps", "bal", ["rpps"])
    op.create_table(
        "exchange",
        sa.Column("professional", sa.Text(), nullable=False),
        sa.Column("patient", sa.Text(), nullable=False),
        sa.Column("sealed_patient", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("since_us", sa.BigInteger(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("professional", "patient", name="pk_exchange"),
    )
    op.create_index("ix_exchange_patient", "exchange", ["patient"])
    op.create_table(
        "hint",
        sa.Column("id", ID, nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_hint"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "journal",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_journal"),
    )
    op.create_index("ix_journal_object_seq", "journal", ["object", "seq"])
    op.create_table(
        "journal_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_journal_head"),
    )
    op.create_table(
        "message",
        sa.Column("id", ID, nullable=False),
        sa.Column("content_id", sa.LargeBinary(), nullable=False),
        sa.Column("segment", sa.Text(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_facts", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_message"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_message_segment_length", "message", ["segment", "length"])
    op.create_table(
        "meta",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_meta"),
    )
    op.create_table(
        "delegation",
        sa.Column("bal_id", ID, nullable=False),
        sa.Column("delegate", sa.Text(), nullable=False),
        sa.Column("right", sa.Text(), nullable=False),
        sa.Column("since_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["bal_id"], ["bal.id"], name="fk_delegation_bal_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("bal_id", "delegate", "right", name="pk_delegation"),
    )
    op.create_index("ix_delegation_delegate", "delegation", ["delegate"])
    op.create_table(
        "folder",
        sa.Column("id", ID, nullable=False),
        sa.Column("bal_id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("special_use", sa.Text(), nullable=False),
        sa.Column("uidvalidity", sa.BigInteger(), nullable=False),
        sa.Column("uidnext", sa.BigInteger(), nullable=False),
        sa.Column("highestmodseq", sa.BigInteger(), nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("unseen", sa.Integer(), nullable=False),
        sa.Column("recent_from", sa.BigInteger(), nullable=False),
        sa.Column("subscribed", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["bal_id"], ["bal.id"], name="fk_folder_bal_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_folder"),
        sa.UniqueConstraint("bal_id", "name", name="uq_folder_bal_id_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "patient",
        sa.Column("bal_id", ID, autoincrement=False, nullable=False),
        sa.Column("sealed_identity", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["bal_id"], ["bal.id"], name="fk_patient_bal_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("bal_id", name="pk_patient"),
    )
    op.create_table(
        "queue_item",
        sa.Column("id", ID, nullable=False),
        sa.Column("message_id", ID, nullable=True),
        sa.Column("sealed_sender", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_recipient", sa.LargeBinary(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("sealed_reply", sa.LargeBinary(), nullable=True),
        sa.Column("notify", sa.Integer(), nullable=False),
        sa.Column("sealed_orcpt", sa.LargeBinary(), nullable=True),
        sa.Column("envid", sa.Text(), nullable=False),
        sa.Column("ret", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=False),
        sa.Column("changed_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"], name="fk_queue_item_message_id", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name="pk_queue_item"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_queue_item_due_us_domain", "queue_item", ["due_us", "domain"])
    op.create_index("ix_queue_item_message_id", "queue_item", ["message_id"])
    op.create_table(
        "entry",
        sa.Column("folder_id", ID, nullable=False),
        sa.Column("uid", sa.BigInteger(), nullable=False),
        sa.Column("modseq", sa.BigInteger(), nullable=False),
        sa.Column("message_id", ID, nullable=False),
        sa.Column("flags", sa.Integer(), nullable=False),
        sa.Column("keywords", sa.Text(), nullable=False),
        sa.Column("internal_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["folder_id"], ["folder.id"], name="fk_entry_folder_id"),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"], name="fk_entry_message_id"),
        sa.PrimaryKeyConstraint("folder_id", "uid", name="pk_entry"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_entry_folder_id_modseq", "entry", ["folder_id", "modseq"])
    op.create_index("ix_entry_message_id", "entry", ["message_id"])
    op.create_table(
        "expunged",
        sa.Column("folder_id", ID, nullable=False),
        sa.Column("modseq", sa.BigInteger(), nullable=False),
        sa.Column("uid", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["folder_id"], ["folder.id"], name="fk_expunged_folder_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("folder_id", "modseq", "uid", name="pk_expunged"),
        sqlite_with_rowid=False,
    )
