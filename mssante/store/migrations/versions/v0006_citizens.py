"""Citizens: why one has no mailbox, his earlier matricules, his parents, his notices; whom else he may write to.

Revision ID: 0006
"""

from alembic import op
from sqlalchemy import BigInteger, Index, Integer, LargeBinary, Text

from mssante.store.tables import key, may, must, of

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    for column in must(Text, "standing", default="open"):
        op.add_column("patient", column)
    op.create_table(
        "matricule",
        *key(Text, "locator"),
        of("bal"),
        *must(LargeBinary, "sealed_matricule"),
        *must(BigInteger, "until_us"),
        Index(None, "bal_id"),
    )
    op.create_table(
        "parent",
        of("bal", "child_id", key=True),
        of("bal", "parent_id", key=True),
        *must(BigInteger, "until_us"),
        Index(None, "parent_id"),
    )
    op.create_table(
        "patient_notice",
        of("bal", key=True),
        *may(BigInteger, "due_us"),
        *must(BigInteger, "arrived_us", "told_us"),
        *must(Integer, "attempts"),
        Index(None, "due_us"),
    )
    op.create_table(
        "introduction",
        *key(Text, "professional", "patient", "through"),
        *must(LargeBinary, "sealed_patient"),
        *must(BigInteger, "since_us"),
        *must(Text, "message_id"),
        Index(None, "patient", "through"),
    )
    op.create_table(
        "ended_thread",
        *key(Text, "professional", "patient", "reference"),
        *must(Text, "ended_by"),
        Index(None, "patient"),
    )
