"""Who opened which bal in which month, and how far the warnings of an unused one went.

Revision ID: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "visit",
        sa.Column("bal_id", ID, nullable=False),
        sa.Column("month", sa.Integer(), nullable=False),
        sa.Column("sessions", sa.Integer(), nullable=False),
        sa.Column("last_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["bal_id"], ["bal.id"], name="fk_visit_bal_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("bal_id", "month", name="pk_visit"),
    )
    op.create_index("ix_visit_month", "visit", ["month"])
    op.create_table(
        "inactivity",
        sa.Column("bal_id", ID, nullable=False),
        sa.Column("warnings", sa.Integer(), nullable=False),
        sa.Column("since_us", sa.BigInteger(), nullable=False),
        sa.Column("warned_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["bal_id"], ["bal.id"], name="fk_inactivity_bal_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("bal_id", name="pk_inactivity"),
    )
