"""The law as pure functions and frozen values.

What must always hold in this package: standard library only; no clock read by a rule, no log, no socket, no SQL, no
global that changes. A function answers the same for the same arguments, whoever calls it and whenever.
"""
