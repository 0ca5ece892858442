"""What the regulator judges by: the same text sent again, whom a bal writes to, its days, reports, exceptions.

Revision ID: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "same_text",
        sa.Column("mark", sa.LargeBinary(), nullable=False),
        sa.Column("since_us", sa.BigInteger(), nullable=False),
        sa.Column("recipients", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("mark", name="pk_same_text"),
    )
    op.create_index("ix_same_text_since_us", "same_text", ["since_us"])
    op.create_table(
        "correspondent",
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("recipient", sa.LargeBinary(), nullable=False),
        sa.Column("since_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sender", "recipient", name="pk_correspondent"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_correspondent_since_us", "correspondent", ["since_us"])
    op.create_table(
        "sending_day",
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("recipients", sa.Integer(), nullable=False),
        sa.Column("novel", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("sender", "day", name="pk_sending_day"),
    )
    op.create_index("ix_sending_day_day", "sending_day", ["day"])
    op.create_table(
        "signalement",
        sa.Column("id", ID, nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reporter", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("settled_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_signalement"),
        sa.UniqueConstraint("about", "reporter", "reference", name="uq_signalement_about_reporter_reference"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "sending_exception",
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("most", sa.Integer(), nullable=False),
        sa.Column("motif", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("since_us", sa.BigInteger(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sender", name="pk_sending_exception"),
    )
