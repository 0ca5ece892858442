"""When an entry came into its folder (SAVEDATE), and what clients note of folders (METADATA).

Revision ID: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    # Of entries that are there already the internal date is the best that is known.
    op.add_column("entry", sa.Column("saved_us", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute("UPDATE entry SET saved_us = internal_us")
    op.create_table(
        "annotation",
        sa.Column("bal_id", ID, nullable=False),
        sa.Column("folder_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["bal_id"], ["bal.id"], name="fk_annotation_bal_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("bal_id", "folder_id", "name", name="pk_annotation"),
    )
    op.create_index("ix_annotation_folder_id", "annotation", ["folder_id"])
