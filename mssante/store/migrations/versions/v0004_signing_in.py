"""What else a bal is opened by (app passwords, certificates), what it is known by, and the tombstone of a purged one.

Revision ID: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("bal", sa.Column("siret", sa.Text()))
    op.add_column("bal", sa.Column("responsable", sa.Text(), nullable=False, server_default=""))
    op.add_column("bal", sa.Column("purged_us", sa.BigInteger()))
    op.create_index("ix_bal_adeli", "bal", ["adeli"])
    op.create_table(
        "credential",
        sa.Column("id", ID, nullable=False),
        sa.Column("bal_id", ID, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("mark", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text()),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["bal_id"], ["bal.id"], name="fk_credential_bal_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_credential"),
        sa.UniqueConstraint("bal_id", "kind", "name", name="uq_credential_bal_id_kind_name"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_credential_mark", "credential", ["mark"])
