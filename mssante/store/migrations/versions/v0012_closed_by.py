"""Who closed a bal, as long as it is closed: the journal, which said it so far, is shortened after some months.

Revision ID: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("bal", sa.Column("closed_by", sa.Text(), nullable=False, server_default=""))
    # The journal names a professional's bal by its address; a citizen's, which it names otherwise, only he and the
    # operator have closed.
    op.execute(
        "UPDATE bal SET closed_by = COALESCE((SELECT actor FROM journal WHERE object = bal.locator AND"
        " action = 'bal.closed' ORDER BY seq DESC LIMIT 1), '') WHERE state = 'closed'"
    )
