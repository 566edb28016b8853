"""The names a chapter uses, and which of them no export cell provides.

Who sees which name is Python's own answer (its symbol tables), so comprehensions, class bodies,
`global`, `:=`, annotations and the like are right by construction.
"""
from __future__ import annotations

import ast
import builtins
import re
import symtable
from dataclasses import dataclass, field

from coursekit.export_cells import Block, Problem
from coursekit.export_names import FUNCTIONS, deleted, effect
from coursekit.notebook import Notebook

IPYTHON = {'display': 'write `from IPython.display import display`',
           'get_ipython': 'write `from IPython import get_ipython`'}
BUILTINS = frozenset(dir(builtins)) - set(IPYTHON)
FUTURE = 'from __future__ import annotations\n'


@dataclass
class Uses:
    """The global names a piece of code uses at once (`now`) and when its functions are called (`later`),
    each with the line its scope begins at, and those it binds."""
    now: dict[str, int] = field(default_factory=dict)
    later: dict[str, int] = field(default_factory=dict)
    binds: set[str] = field(default_factory=set)


def uses(text: str, future: bool = False) -> Uses:
    "What a piece of code uses and binds; `future`: its annotations are never evaluated."
    found = Uses()
    look(symtable.symtable(FUTURE + text if future else text, '<cell>', 'exec'), True, found)
    if future:
        found.binds.discard('annotations')
    return found


def look(table, now: bool, found: Uses) -> None:
    "Add what a scope and those inside it use and bind."
    module = table.get_type() == 'module'
    for s in table.get_symbols():
        if not (module or s.is_global()):
            continue
        if s.is_assigned() or s.is_imported():
            found.binds.add(s.get_name())
        if s.is_referenced():
            (found.now if now else found.later).setdefault(s.get_name(), 0 if module else table.get_lineno())
    for child in table.get_children():
        look(child, now and at_once(child), found)


def at_once(table) -> bool:
    "Does the scope's code run where it stands: a class body or a comprehension, not a function?"
    kind = str(getattr(table.get_type(), 'value', table.get_type()))
    if kind == 'function':
        return table.get_name() in ('listcomp', 'setcomp', 'dictcomp') and '.0' in table.get_identifiers()
    return kind in ('class', 'type parameters')


def missing(notebook: Notebook, blocks: list[Block], stars: list[set]) -> list[Problem]:
    """Names that are used but that no export cell defines or imports, or only further down.

    `stars` are, block by block, the names that its `import *` bring.
    """
    future = lazy_annotations(blocks[0])
    found = [uses(b.text, future) for b in blocks]
    ever, at_end = set().union(*(u.binds for u in found), *stars), available(blocks, found, stars)
    problems = []
    for i, (block, u) in enumerate(zip(blocks, found)):
        above = available(blocks[:i], found, stars)
        nowhere = {n: s for n, s in u.now.items() if not known(n) and n not in u.binds | above | stars[i]}
        early = {n: s for n, s in nowhere.items() if n in ever}
        nowhere = {**{n: s for n, s in u.later.items() if not known(n) and n not in at_end}, **nowhere}
        for name, scope in nowhere.items():
            if not foreseen(block, name):
                problems.append(block.problem(line_of(block, name, scope), too_early(blocks, found, stars, i, name)
                                              if name in early else undefined(notebook, blocks, name)))
        problems += in_order(block, {n for n in u.now if n in u.binds and n not in above}, future)
    return problems


def available(blocks: list[Block], found: list[Uses], stars: list[set]) -> set[str]:
    "The names that are there once the blocks have run: those bound and not deleted."
    names = set()
    for block, u, star in zip(blocks, found, stars):
        gone = set()
        for node in block.tree.body:
            gone = (gone | set(deleted(node))) - set(effect(node))
        names = (names | u.binds | star) - gone
    return names


def lazy_annotations(block: Block) -> bool:
    return any(isinstance(n, ast.ImportFrom) and n.module == '__future__' and
               any(a.name == 'annotations' for a in n.names) for n in block.tree.body)


def known(name: str) -> bool:
    return name in BUILTINS or name.startswith('__') and name.endswith('__')


def line_of(block: Block, name: str, scope: int) -> int | None:
    "The first line at or below `scope` where the name is read; for scope 0, outside of all inner scopes."
    nodes = outermost(block.tree) if not scope else ast.walk(block.tree)
    lines = [n.lineno for n in nodes if is_read(n, name)] or [n.lineno for n in reads(block.tree, name)]
    return min([n for n in lines if n >= scope] or lines, default=None)


def outermost(tree: ast.Module):
    "The nodes that belong to the module's own scope."
    todo = [tree]
    while todo:
        node = todo.pop()
        yield node
        inner = isinstance(node, (*FUNCTIONS, ast.ClassDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp,
                                  ast.GeneratorExp))
        todo += heads(node) if inner else ast.iter_child_nodes(node)


def heads(node) -> list:
    "What a function, a class or a comprehension evaluates in the scope around it."
    if isinstance(node, (*FUNCTIONS, ast.Lambda)):
        a = node.args
        return [*getattr(node, 'decorator_list', ()), *a.defaults, *filter(None, a.kw_defaults),
                *(x.annotation for x in (*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg) if x and x.annotation),
                *filter(None, [getattr(node, 'returns', None)])]
    if isinstance(node, ast.ClassDef):
        return [*node.decorator_list, *node.bases, *node.keywords]
    return [node.generators[0].iter]


def is_read(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load)


def reads(node: ast.AST, name: str) -> list[ast.Name]:
    return [n for n in ast.walk(node) if is_read(n, name)]


def foreseen(block: Block, name: str) -> bool:
    "Is the name read only where a missing one is caught: in a `try` with `except NameError`?"
    caught = {id(n) for t in ast.walk(block.tree) if isinstance(t, ast.Try)
              and any(h.type and reads(h.type, 'NameError') for h in t.handlers)
              for node in t.body for n in reads(node, name)}
    return bool(caught) and all(id(n) in caught for n in reads(block.tree, name))


def undefined(notebook: Notebook, blocks: list[Block], name: str) -> str:
    message = f'`{name}` is used, but no export cell defines or imports it'
    if name in IPYTHON:
        return f'{message}; the notebook provides it, a module has to import it: {IPYTHON[name]}'
    n = re.escape(name)
    binds = re.compile(rf'^\s*(?:(?:def|class)\s+{n}\b|{n}\s*(?:[:,][^=]*)?=[^=]|.*\bimport\b.*\b{n}\b)', re.M)
    exported = {b.cell.number for b in blocks}
    others = [c for c in notebook.cells if c.kind == 'code' and c.number not in exported and binds.search(c.source)]
    return message + (f'; cell {others[0].number} (#{others[0].id}) does, but has no `#export`' if others else '')


def too_early(blocks: list[Block], found: list[Uses], stars: list[set], i: int, name: str) -> str:
    cells = [b.cell for b, u, s in list(zip(blocks, found, stars))[i + 1:] if name in u.binds or name in s]
    if not cells:
        return f'`{name}` is used after it was deleted'
    cell = cells[0]
    return (f'`{name}` is needed as soon as the module is imported, but cell {cell.number} (#{cell.id}), '
            'further down, is what defines it')


def in_order(block: Block, names: set[str], future: bool) -> list[Problem]:
    "Names that a cell itself binds, but only after it needed them."
    problems = []
    for node in block.tree.body:
        if not names:
            break
        binds = bound_by(node)
        read = {n.id: n.lineno for n in ast.walk(node) if isinstance(n, ast.Name) and n.id in names - binds}
        if read:
            early = read.keys() & uses(ast.unparse(node), future).now.keys()
            problems += [block.problem(read[n], f'`{n}` is needed before this cell defines it') for n in sorted(early)]
            names = names - early
        names = names - binds
    return problems


def bound_by(node: ast.stmt) -> set[str]:
    "All that a statement binds, a loop's and a `with`'s names too."
    simple = not hasattr(node, 'body') or isinstance(node, (*FUNCTIONS, ast.ClassDef))
    return set(effect(node)) if simple else uses(ast.unparse(node)).binds
