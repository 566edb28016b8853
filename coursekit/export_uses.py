"""Names that export cells read, but that no export cell provides, or provides too late."""
from __future__ import annotations

import ast
import builtins
import re

from coursekit.export_cells import Block, Problem
from coursekit.export_names import deleted
from coursekit.export_scopes import uses
from coursekit.notebook import Notebook

IPYTHON = {'display': 'write `from IPython.display import display`',
           'get_ipython': 'write `from IPython import get_ipython`'}
BUILTINS = frozenset(dir(builtins)) - set(IPYTHON)  # IPython adds its own to them while it runs


def missing(notebook: Notebook, blocks: list[Block], stars: list[set]) -> list[Problem]:
    """The names that are read but that no export cell defines or imports, or only further down.

    `stars` are, block by block, the names that its `import *` bring.
    """
    annotations = not any(isinstance(n, ast.ImportFrom) and n.module == '__future__' and
                          any(a.name == 'annotations' for a in n.names)
                          for n in blocks[0].tree.body)
    told = [[(node, uses([node], annotations)) for node in b.tree.body] for b in blocks]
    problems, there, later, providers = [], set(), [], {}
    for block, brought, statements in zip(blocks, stars, told):
        for name in brought.union(*(used.binds for _, used in statements)):
            providers.setdefault(name, []).append(block)
    for block, brought, statements in zip(blocks, stars, told):
        there |= brought
        for node, used in statements:
            later += [(block, node, n, line) for n, line in used.later.items()]
            for name, line in used.now.items():
                if not known(name, there | used.binds) and not foreseen(node, name):
                    message = absent(notebook, blocks, block, name, providers)
                    problems.append(block.problem(line, message))
            there = (there | used.binds) - set(deleted(node))
    for block, node, name, line in later:
        if not known(name, there) and not foreseen(node, name):
            message = gone(name) if name in providers else undefined(notebook, blocks, name)
            problems.append(block.problem(line, message))
    return once(problems)


def known(name: str, there: set[str]) -> bool:
    return name in there or name in BUILTINS or name.startswith('__') and name.endswith('__')


def once(problems: list[Problem]) -> list[Problem]:
    "One problem for each message of a cell: that of its first line."
    first = {}
    for p in sorted(problems, key=Problem.place):
        first.setdefault((p.cell.number, p.message), p)
    return list(first.values())


def foreseen(node: ast.stmt, name: str) -> bool:
    "Does the statement read the name only in a `try` with `except NameError`?"
    def reads(node):
        return {id(n) for n in ast.walk(node) if isinstance(n, ast.Name) and n.id == name}
    caught = {r for t in ast.walk(node) if isinstance(t, ast.Try) and any(map(catches, t.handlers))
              for n in t.body for r in reads(n)}
    return bool(caught) and caught == reads(node)


def catches(handler: ast.ExceptHandler) -> bool:
    nodes = ast.walk(handler.type) if handler.type else ()
    return any(isinstance(n, ast.Name) and n.id == 'NameError' for n in nodes)


def absent(notebook: Notebook, blocks: list[Block], block: Block, name: str,
           providers: dict) -> str:
    "What to say of a name that is not there when the module's top level needs it."
    below = [b.cell for b in providers.get(name, ()) if b.cell.number > block.cell.number]
    if below:
        return (f'`{name}` is needed as soon as the module is imported, but cell {below[0].number} '
                f'(#{below[0].id}), further down, is what defines it')
    if block in providers.get(name, ()):
        return f'`{name}` is needed before this cell defines it, or after it was deleted'
    return gone(name) if name in providers else undefined(notebook, blocks, name)


def gone(name: str) -> str:
    return f'`{name}` is used, but was deleted'


def undefined(notebook: Notebook, blocks: list[Block], name: str) -> str:
    message = f'`{name}` is used, but no export cell defines or imports it'
    if name in IPYTHON:
        return f'{message}; the notebook provides it, a module has to import it: {IPYTHON[name]}'
    n = re.escape(name)
    binds = re.compile(rf'^\s*(?:(?:def|class)\s+{n}\b|{n}\s*(?:[:,][^=]*)?=[^=]'
                       rf'|.*\bimport\b.*\b{n}\b)', re.M)
    exported = {b.cell.number for b in blocks}
    others = [c for c in notebook.cells if c.kind == 'code' and c.number not in exported
              and binds.search(c.source)]
    return message + (f'; cell {others[0].number} (#{others[0].id}) does, but has no `#export`'
                      if others else '')
