"""Subscriptions outlive their folders.

Revision ID: 0003
"""

from alembic import op
from sqlalchemy import Text

from mssante.store.tables import key, of

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table("subscription", of("bal", key=True), *key(Text, "name"))
