"""What SEARCH answers from: texts, blocks of words, how far each folder was read.

Revision ID: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _of(table: str, of: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([f"{of}_id"], [f"{of}.id"], name=f"fk_{table}_{of}_id", ondelete="CASCADE")


def upgrade() -> None:
    op.create_table(
        "search_folder",
        sa.Column("folder_id", ID, nullable=False),
        sa.Column("made", sa.Integer(), nullable=False),
        sa.Column("read_uid", sa.BigInteger(), nullable=False),
        _of("search_folder", "folder"),
        sa.PrimaryKeyConstraint("folder_id", name="pk_search_folder"),
    )
    op.create_table(
        "search_text",
        sa.Column("message_id", ID, nullable=False),
        sa.Column("made", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        _of("search_text", "message"),
        sa.PrimaryKeyConstraint("message_id", name="pk_search_text"),
    )
    op.create_table(
        "search_block",
        sa.Column("id", ID, nullable=False),
        sa.Column("folder_id", ID, nullable=False),
        sa.Column("first_uid", sa.BigInteger(), nullable=False),
        sa.Column("last_uid", sa.BigInteger(), nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("made", sa.Integer(), nullable=False),
        sa.Column("sealed_key", sa.LargeBinary(), nullable=False),
        _of("search_block", "folder"),
        sa.PrimaryKeyConstraint("id", name="pk_search_block"),
        sa.UniqueConstraint("folder_id", "first_uid", name="uq_search_block_folder_id_first_uid"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "search_part",
        sa.Column("block_id", sa.BigInteger(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("block_id", "part", name="pk_search_part"),
    )
