"""Names that a holder is subscribed to though no folder has them any more (RFC 3501 §6.3.6, RFC 9051 §6.3.7).

Always true here: a name is either that of a folder of the bal, which carries its own mark, or in this table, never
both. Folders of others are none of the bal's: their names are in this table.
"""

from sqlalchemy import Connection, delete, select

from mssante.store.folders import folder_by_id, set_subscribed
from mssante.store.prepared import put
from mssante.store.schema import subscription
from mssante.store.writer import Tx


def subscribed_names(conn: Connection, bal_id: int) -> list[str]:
    """The names without a folder, sorted."""
    query = select(subscription.c.name).where(subscription.c.bal_id == bal_id).order_by(subscription.c.name)
    return list(conn.execute(query).scalars())


def keep_subscription(tx: Tx, folder_id: int) -> None:
    """To be called before a folder is deleted: its name stays subscribed if it was."""
    found = folder_by_id(tx.conn, folder_id)
    if found is not None and found.subscribed:
        add_subscription(tx, found.bal_id, found.name)


def add_subscription(tx: Tx, bal_id: int, name: str) -> None:
    """Subscribes to a name that no folder of the bal has; twice is once."""
    put(tx.conn, subscription, {"bal_id": bal_id, "name": name})
    tx.hint("folders", bal_id)


def take_subscription(tx: Tx, bal_id: int, name: str, folder_id: int) -> None:
    """To be called when a folder gets this name: it carries the mark from now on."""
    if forget_subscription(tx, bal_id, name):
        set_subscribed(tx, folder_id, True)


def forget_subscription(tx: Tx, bal_id: int, name: str) -> bool:
    """Whether the name was subscribed to without a folder; it is no more."""
    tx.hint("folders", bal_id)
    gone = delete(subscription).where(subscription.c.bal_id == bal_id, subscription.c.name == name)
    return bool(tx.conn.execute(gone).rowcount)
