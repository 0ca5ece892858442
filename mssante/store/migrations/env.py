"""Runs the migrations on the connection that `versions.bring_up_to_date` holds, inside its transaction."""

from alembic import context

from mssante.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=False,
)
context.run_migrations()
