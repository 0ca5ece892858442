"""What the annuaire has been told of own bals, and what it answered; own bals by what near addresses are found from.

Always true here: one row a bal, its last operation; `reference` names that operation in what is sent and in what comes
back, and is never used twice.
"""

from sqlalchemy import Connection, select

from mssante.store.accounts import Bal, find_bals
from mssante.store.schema import bal

MOST = 1000


def bals_beginning(conn: Connection, beginning: str, domain: str) -> list[str]:
    """Addresses of professionals' bals of this domain whose local part begins so, at most MOST."""
    if not beginning:
        return []
    after = beginning[:-1] + chr(ord(beginning[-1]) + 1)
    query = select(bal.c.locator).where(
        bal.c.locator >= beginning, bal.c.locator < after, bal.c.locator.endswith(f"@{domain}", autoescape=True)
    )
    return list(conn.execute(query.limit(MOST)).scalars())


def bals_held(conn: Connection, rpps: str) -> list[Bal]:
    """The bals of one professional, in whatever state."""
    addresses = conn.execute(select(bal.c.locator).where(bal.c.rpps == rpps)).scalars()
    return list(find_bals(conn, addresses).values())
