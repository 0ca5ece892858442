"""The copy of the annuaire, its words, and what is published there.

Revision ID: 0005
"""

from alembic import op
from sqlalchemy import BigInteger, Index, Integer, LargeBinary, Text, UniqueConstraint, text

from mssante.store.tables import Folded, key, may, must, number, of

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    marked = text("gone IS NOT NULL")
    op.create_table(
        "annuaire_fiche",
        number(),
        *must(BigInteger, "digest"),
        *must(Text, "origin", "address", "type", "holder"),
        *must(LargeBinary, "record"),
        *must(Integer, "born"),
        *may(Integer, "gone"),
        UniqueConstraint("digest"),
        Index(None, "origin"),
        Index(None, "address"),
        Index(None, "holder"),
        Index(None, "born"),
        Index(None, "gone", sqlite_where=marked, postgresql_where=marked),
    )
    op.create_table("annuaire_mot", *key(Folded, "mot"), *must(Folded, "inverse"), Index(None, "inverse"))
    op.create_table(
        "publication",
        of("bal", key=True),
        *must(Text, "operation", "state"),
        *must(LargeBinary, "record"),
        *must(Text, "reference"),
        *must(Integer, "attempts"),
        *must(BigInteger, "due_us", "changed_us"),
        *must(Text, "report"),
        UniqueConstraint("reference"),
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
