"""Citizens: why one has no mailbox, his earlier matricules, his parents, his notices; whom else he may write to.

Revision ID: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _of_bal(table: str, column: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], ["bal.id"], name=f"fk_{table}_{column}", ondelete="CASCADE")


def upgrade() -> None:
    op.add_column("patient", sa.Column("standing", sa.Text(), nullable=False, server_default="open"))
    op.create_table(
        "matricule",
        sa.Column("locator", sa.Text(), nullable=False),
        sa.Column("bal_id", ID, nullable=False),
        sa.Column("sealed_matricule", sa.LargeBinary(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        _of_bal("matricule", "bal_id"),
        sa.PrimaryKeyConstraint("locator", name="pk_matricule"),
    )
    op.create_index("ix_matricule_bal_id", "matricule", ["bal_id"])
    op.create_table(
        "parent",
        sa.Column("child_id", ID, nullable=False),
        sa.Column("parent_id", ID, nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        _of_bal("parent", "child_id"),
        _of_bal("parent", "parent_id"),
        sa.PrimaryKeyConstraint("child_id", "parent_id", name="pk_parent"),
    )
    op.create_index("ix_parent_parent_id", "parent", ["parent_id"])
    op.create_table(
        "patient_notice",
        sa.Column("bal_id", ID, nullable=False),
        sa.Column("due_us", sa.BigInteger()),
        sa.Column("arrived_us", sa.BigInteger(), nullable=False),
        sa.Column("told_us", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        _of_bal("patient_notice", "bal_id"),
        sa.PrimaryKeyConstraint("bal_id", name="pk_patient_notice"),
    )
    op.create_index("ix_patient_notice_due_us", "patient_notice", ["due_us"])
    op.create_table(
        "introduction",
        sa.Column("professional", sa.Text(), nullable=False),
        sa.Column("patient", sa.Text(), nullable=False),
        sa.Column("through", sa.Text(), nullable=False),
        sa.Column("sealed_patient", sa.LargeBinary(), nullable=False),
        sa.Column("since_us", sa.BigInteger(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("professional", "patient", "through", name="pk_introduction"),
    )
    op.create_index("ix_introduction_patient_through", "introduction", ["patient", "through"])
    op.create_table(
        "ended_thread",
        sa.Column("professional", sa.Text(), nullable=False),
        sa.Column("patient", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("ended_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("professional", "patient", "reference", name="pk_ended_thread"),
    )
    op.create_index("ix_ended_thread_patient", "ended_thread", ["patient"])
