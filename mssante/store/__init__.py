"""One door to all that lasts: accounts, folders and messages, queue, exchanges, journal (rows), message bytes
(contents).

`Store` opens it. Functions of `mail`, `accounts`, `queue`, `exchanges` and `journal` take a `Tx` to write (inside
`Store.write`) or a `Conn` to read (inside `Store.read`; `tx.conn` is one too). SQLAlchemy is known in this room only.
"""

from sqlalchemy import Connection as Conn

from mssante.store.contents import ContentRef, ContentWriter, PendingContent
from mssante.store.database import Store
from mssante.store.errors import AlreadyExists, ContentError, NotFound, StoreError, StoreFull, StoreUnavailable
from mssante.store.writer import Tx

__all__ = [
    "AlreadyExists",
    "Conn",
    "ContentError",
    "ContentRef",
    "ContentWriter",
    "NotFound",
    "PendingContent",
    "Store",
    "StoreError",
    "StoreFull",
    "StoreUnavailable",
    "Tx",
]
