"""Did a cell do what it should? The one rule, used on both sides of the process boundary."""
from __future__ import annotations

EXITED = 'asked its own process to end (exit() or quit()); a notebook runs to its last cell'
MAY_RAISE = 'may-raise'  # a tag that the runner sets on the exercises of a student's copy
MUST_RAISE = 'is tagged raises-exception, but raised nothing'


def complaint(reply: dict, must_raise: bool | None) -> str:
    """What is wrong with a cell, given ipykernel's reply to it; empty when nothing is.

    must_raise: True, False, or None for a cell that may do either.
    """
    if any(payload.get('source') == 'ask_exit' for payload in reply.get('payload') or ()):
        return EXITED
    if reply.get('status') != 'error':
        return MUST_RAISE if must_raise else ''
    if must_raise is not False:
        return ''
    ename, evalue = reply.get('ename', ''), reply.get('evalue', '')
    if ename == 'SystemExit':
        return f'SystemExit: {evalue} (sys.exit ends the process before the notebook is through)'
    return f'{ename}: {evalue}' if evalue else ename
