"""The copy of the annuaire, its words, and what is published there.

Revision ID: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
FOLDED = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "annuaire_fiche",
        sa.Column("id", ID, nullable=False),
        sa.Column("digest", sa.BigInteger(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.Column("born", sa.Integer(), nullable=False),
        sa.Column("gone", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_annuaire_fiche"),
        sa.UniqueConstraint("digest", name="uq_annuaire_fiche_digest"),
    )
    for column in ("origin", "address", "holder", "born"):
        op.create_index(f"ix_annuaire_fiche_{column}", "annuaire_fiche", [column])
    marked = sa.text("gone IS NOT NULL")
    op.create_index("ix_annuaire_fiche_gone", "annuaire_fiche", ["gone"], sqlite_where=marked, postgresql_where=marked)
    op.create_table(
        "annuaire_mot",
        sa.Column("mot", FOLDED, nullable=False),
        sa.Column("inverse", FOLDED, nullable=False),
        sa.PrimaryKeyConstraint("mot", name="pk_annuaire_mot"),
    )
    op.create_index("ix_annuaire_mot_inverse", "annuaire_mot", ["inverse"])
    op.create_table(
        "publication",
        sa.Column("bal_id", ID, nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("changed_us", sa.BigInteger(), nullable=False),
        sa.Column("report", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["bal_id"], ["bal.id"], name="fk_publication_bal_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("bal_id", name="pk_publication"),
        sa.UniqueConstraint("reference", name="uq_publication_reference"),
    )
    # Words come folded, so neither database is asked to understand them: it only finds them and their beginnings.
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE VIRTUAL TABLE annuaire_words USING fts5(words, content='', contentless_delete=1, detail=none,"
            " prefix='1 2 3 4', tokenize='unicode61 remove_diacritics 0')"
        )
    else:
        op.execute("CREATE TABLE annuaire_words (id BIGINT PRIMARY KEY, words TSVECTOR NOT NULL)")
        op.execute("CREATE INDEX ix_annuaire_words_words ON annuaire_words USING gin (words)")
