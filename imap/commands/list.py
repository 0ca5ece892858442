"""LIST and LSUB (RFC 9051 §6.3.9 with RFC 5258; RFC 3501 §6.3.9 for LSUB; special uses RFC 6154 §2).

Invariants: a name is told at most once; levels that exist only because something lies below them are \\Noselect.
"""

from __future__ import annotations

from imap.commands.mailboxes import tell_status
from imap.mailbox_names import Pattern, superiors
from imap.session import Session
from imap.values import List, StatusItem
from mssante.services.mailboxes import Folder


async def list_(session: Session, value: List) -> None:
    word = b"LSUB" if value.lsub else b"LIST"
    if value.patterns == ("",) and not value.extended and not value.lsub:
        session.wire.write(b'* LIST (\\Noselect) "/" ""\r\n')
        return
    listed = await session.own.listed()
    folders = {folder.name: folder for _, folder in listed}
    mailboxes = {folder.name: mail for mail, folder in listed}
    asked = value.lsub or value.subscribed
    kept = frozenset(await session.own.subscribed_names()) if asked else frozenset[str]()
    patterns = [Pattern(value.reference, text) for text in value.patterns]
    parents = {above for name in folders for above in superiors(name)}
    chosen = {name for name, folder in folders.items() if _chosen(folder, value)}
    if (value.lsub or value.only_subscribed) and not value.only_special_use:
        chosen |= kept  # a name stays subscribed when its folder is deleted (RFC 3501 §6.3.6)
    above_chosen = {above for name in chosen for above in superiors(name)}
    for name in sorted(folders.keys() | parents | (chosen & kept), key=lambda name: (name != "INBOX", name)):
        if not any(pattern.matches(name) for pattern in patterns):
            continue
        # LSUB "%" tells a level that is not subscribed when something below it is (RFC 3501 §6.3.9);
        # LIST (RECURSIVEMATCH ...) tells it with CHILDINFO (RFC 5258 §3.5).
        implied = name in above_chosen and (value.lsub or value.recursive)
        if name not in chosen and not implied and (value.lsub or _selects(value) or name in folders):
            continue
        folder = folders.get(name)
        attributes = attributes_of(folder, name in parents, value)
        if folder is None and name in kept and value.subscribed:
            attributes.append(b"\\Subscribed")
        if value.lsub and name not in chosen:
            attributes = [b"\\Noselect", b"\\HasChildren"]
        info = _child_info(value) if value.recursive and name in above_chosen else b""
        told = b" ".join(attributes)
        session.wire.write(b'* %b (%b) "/" %b%b\r\n' % (word, told, session.mailbox(name), info))
        if folder is not None and value.status:
            if StatusItem.HIGHESTMODSEQ in value.status:
                session.use_condstore()  # RFC 7162 §3.1
            await tell_status(session, mailboxes[name], folder, name, value.status)


def _child_info(value: List) -> bytes:
    """What it is that something below has (RFC 5258 §3.5, §4)."""
    words = [b'"SUBSCRIBED"'] * value.only_subscribed + [b'"SPECIAL-USE"'] * value.only_special_use
    return b' ("CHILDINFO" (' + b" ".join(words) + b"))"


def _selects(value: List) -> bool:
    return value.only_subscribed or value.only_special_use


def _chosen(folder: Folder, value: List) -> bool:
    if (value.lsub or value.only_subscribed) and not folder.subscribed:
        return False
    return not (value.only_special_use and not folder.special_use)


def attributes_of(folder: Folder | None, parent: bool, value: List) -> list[bytes]:
    # A level in name only; \\NonExistent says it to those who know that word (RFC 5258 §3.4).
    attributes = [] if folder is not None else [b"\\NonExistent" if value.extended else b"\\Noselect"]
    attributes.append(b"\\HasChildren" if parent else b"\\HasNoChildren")
    if folder is not None and folder.special_use:
        attributes.append(folder.special_use.encode("ascii"))
    if folder is not None and folder.subscribed and value.subscribed:
        attributes.append(b"\\Subscribed")
    return attributes
