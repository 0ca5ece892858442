"""Queue items know which accepted message they are of, and are found by what reports of other operators tell of it.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("queue_item", sa.Column("accepted_as", sa.Text(), nullable=True))
    op.add_column("queue_item", sa.Column("header_id", sa.Text(), nullable=True))
    op.create_index("ix_queue_item_accepted_as", "queue_item", ["accepted_as"])
    op.create_index("ix_queue_item_header_id", "queue_item", ["header_id"])
    op.create_index("ix_queue_item_envid", "queue_item", ["envid"])
