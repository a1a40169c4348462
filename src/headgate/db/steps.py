"""The steps from an older database to the newest, one after another in one transaction. The one user of Alembic."""

from pathlib import Path

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


def carry_out(connection: Connection, folder: Path, until: str = "head") -> None:
    """Every step that the database has not seen, up to a revision."""
    settings = Config()
    settings.set_main_option("script_location", str(folder).replace("%", "%%"))
    settings.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(settings)
    context = MigrationContext.configure(connection)
    waiting = list(script.iterate_revisions(until, context.get_current_revision() or "base"))
    with Operations.context(context):
        for step in reversed(waiting):
            step.module.upgrade()
            context.stamp(script, step.revision)
