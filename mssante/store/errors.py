"""What can go wrong in the store, as its callers need to tell it apart.

Always true here: the text of an error is safe for the operator's log, names no patient and carries no SQL parameter;
a failed write has changed nothing.
"""


class StoreError(Exception):
    """The store refuses or cannot do what was asked; the text says why and what to do."""


class StoreUnavailable(StoreError):
    """The database or the contents cannot be reached now: try later (SMTP 451)."""


class StoreFull(StoreError):
    """No room left on the disk or in the database (SMTP 452). Nothing of the write was kept."""


class NotFound(StoreError):
    """The named bal, folder, message or queue item is not (or no longer) there."""


class AlreadyExists(StoreError):
    """The name is taken: an address (also by a closed bal, for ever) or a folder."""


class ContentError(StoreError):
    """The bytes of a message are missing, cut or altered."""
