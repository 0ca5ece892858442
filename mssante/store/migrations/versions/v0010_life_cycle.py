"""Who opened which bal in which month, and how far the warnings of an unused one went.

Revision ID: 0010
"""

from alembic import op
from sqlalchemy import BigInteger, Index, Integer

from mssante.store.tables import key, must, of

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "visit",
        of("bal", key=True),
        *key(Integer, "month"),
        *must(Integer, "sessions"),
        *must(BigInteger, "last_us"),
        Index(None, "month"),
    )
    op.create_table(
        "inactivity", of("bal", key=True), *must(Integer, "warnings"), *must(BigInteger, "since_us", "warned_us")
    )
