"""The monthly figures of an operator (facts 7: their existence is known, their format is not, so it is a template).

Always true here: figures are numbers of mailboxes, sessions and messages; no address is among them. Messages are
counted from the journal, so a month is complete while `journal_days` keeps it.
"""

import re
from collections import Counter
from typing import Final

from mssante.domain.clock import month_bounds_us
from mssante.domain.transaction import Edge
from mssante.store import Conn
from mssante.store.journal import details_of
from mssante.store.visits import month_figures

LAYOUT: Final = """indicateur;valeur
mois;{mois}
operateur;{operateur}
bal_per;{bal_per}
bal_org;{bal_org}
bal_app;{bal_app}
bal_usagers;{bal_pat}
bal_actives_per;{actives_per}
bal_actives_org;{actives_org}
bal_actives_app;{actives_app}
bal_actives_usagers;{actives_pat}
connexions_per;{connexions_per}
connexions_org;{connexions_org}
connexions_app;{connexions_app}
connexions_usagers;{connexions_pat}
messages_recus;{messages_recus}
messages_emis;{messages_emis}
messages_internes;{messages_internes}
"""
_NAME: Final = re.compile(r"\{([^{}\n]*)\}")


class LayoutFault(ValueError):
    """The template names something that is not counted; the text says what is."""


def figures(conn: Conn, month: int) -> dict[str, int]:
    """By name. ``month``: as `mssante.domain.life_cycle.month_of` counts it. Messages: received from other operators,
    sent to them, and between mailboxes here (one may be both of the last two)."""
    since_us, until_us = month_bounds_us(month)
    found: dict[str, int] = {}
    for kind, one in month_figures(conn, month, until_us).items():
        name = kind.lower()
        found |= {f"bal_{name}": one.bals, f"actives_{name}": one.active, f"connexions_{name}": one.sessions}
    messages = Counter(messages_recus=0, messages_emis=0, messages_internes=0)
    for detail in details_of(conn, "message.accepted", since_us, until_us):
        if detail["edge"] == Edge.MX:
            messages["messages_recus"] += 1
        else:
            messages["messages_emis"] += bool(detail["leaving"])
            messages["messages_internes"] += bool(detail["local"])
    return found | messages


def rendered(layout: str, known: dict[str, str]) -> str:
    """The template with each ``{name}`` replaced. Raises LayoutFault."""
    unknown = sorted({name for name in _NAME.findall(layout) if name not in known})
    if unknown:
        raise LayoutFault(f"{', '.join(unknown)}: not counted; there are {', '.join(sorted(known))}")
    return _NAME.sub(lambda match: known[match[1]], layout)
