"""What SEARCH answers from: texts, blocks of words, how far each folder was read.

Revision ID: 0008
"""

from alembic import op
from sqlalchemy import BigInteger, Integer, LargeBinary, UniqueConstraint

from mssante.store.tables import key, must, number, of

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table("search_folder", of("folder", key=True), *must(Integer, "made"), *must(BigInteger, "read_uid"))
    op.create_table("search_text", of("message", key=True), *must(Integer, "made"), *must(LargeBinary, "sealed"))
    op.create_table(
        "search_block",
        number(),
        of("folder"),
        *must(BigInteger, "first_uid", "last_uid"),
        *must(Integer, "messages", "made"),
        *must(LargeBinary, "sealed_key"),
        UniqueConstraint("folder_id", "first_uid"),
        sqlite_autoincrement=True,
    )
    op.create_table("search_part", *key(BigInteger, "block_id"), *key(Integer, "part"), *must(LargeBinary, "sealed"))
