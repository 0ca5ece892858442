"""How full a bal was when its holder was last warned.

Revision ID: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("bal", sa.Column("warned_percent", sa.Integer(), nullable=False, server_default="0"))
