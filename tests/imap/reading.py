"""Whole commands read as values, whatever the state of a session."""

from typing import NamedTuple

from imap.commands import COMMANDS
from imap.framer import Command
from imap.grammar import read_head, read_value
from imap.lexer import SyntaxFault
from imap.values import Value


class Tagged(NamedTuple):
    tag: bytes
    name: str
    value: Value


def read(command: Command, *, utf8: bool = False) -> Tagged:
    head = read_head(command, utf8=utf8)
    known = COMMANDS.get(head.name)
    if known is None:
        raise SyntaxFault("unknown command")
    return Tagged(head.tag, head.name, read_value(head, known.rule))
