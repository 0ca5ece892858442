"""When an entry came into its folder (SAVEDATE), and what clients note of folders (METADATA).

Revision ID: 0009
"""

from alembic import op
from sqlalchemy import BigInteger, Index, LargeBinary, Text

from mssante.store.tables import key, must, of

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    # Of entries that are there already the internal date is the best that is known.
    for column in must(BigInteger, "saved_us", default="0"):
        op.add_column("entry", column)
    op.execute("UPDATE entry SET saved_us = internal_us")
    op.create_table(
        "annotation",
        of("bal", key=True),
        *key(BigInteger, "folder_id"),
        *key(Text, "name"),
        *must(LargeBinary, "value"),
        Index(None, "folder_id"),
    )
