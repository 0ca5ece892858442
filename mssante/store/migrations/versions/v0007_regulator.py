"""What the regulator judges by: the same text sent again, whom a bal writes to, its days, reports, exceptions.

Revision ID: 0007
"""

from alembic import op
from sqlalchemy import BigInteger, Index, Integer, LargeBinary, Text, UniqueConstraint

from mssante.store.tables import key, may, must, number

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "same_text",
        *key(LargeBinary, "mark"),
        *must(BigInteger, "since_us"),
        *must(LargeBinary, "recipients"),
        Index(None, "since_us"),
    )
    op.create_table(
        "correspondent",
        *key(Text, "sender"),
        *key(LargeBinary, "recipient"),
        *must(BigInteger, "since_us"),
        Index(None, "since_us"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sending_day",
        *key(Text, "sender"),
        *key(Integer, "day"),
        *must(Integer, "messages", "recipients", "novel"),
        Index(None, "day"),
    )
    op.create_table(
        "signalement",
        number(),
        *must(BigInteger, "at_us"),
        *must(Text, "about", "kind", "reporter", "reference"),
        *may(BigInteger, "settled_us"),
        UniqueConstraint("about", "reporter", "reference"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "sending_exception",
        *key(Text, "sender"),
        *must(Integer, "most"),
        *must(Text, "motif", "author"),
        *must(BigInteger, "since_us", "until_us"),
    )
