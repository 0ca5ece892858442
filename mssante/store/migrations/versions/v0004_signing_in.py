"""What else a bal is opened by (app passwords, certificates), what it is known by, and the tombstone of a purged one.

Revision ID: 0004
"""

from alembic import op
from sqlalchemy import BigInteger, Index, Text, UniqueConstraint

from mssante.store.tables import may, must, number, of

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for column in (*may(Text, "siret"), *must(Text, "responsable", default=""), *may(BigInteger, "purged_us")):
        op.add_column("bal", column)
    op.create_index("ix_bal_adeli", "bal", ["adeli"])
    op.create_table(
        "credential",
        number(),
        of("bal"),
        *must(Text, "kind", "name", "mark"),
        *may(Text, "password_hash"),
        *must(BigInteger, "created_us"),
        UniqueConstraint("bal_id", "kind", "name"),
        Index(None, "mark"),
        sqlite_autoincrement=True,
    )
