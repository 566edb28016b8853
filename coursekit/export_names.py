"""The names a chapter defines: what `__all__` will say, and definitions that get in each other's
way.

Public are the names that a module's own top level binds by def, class or assignment whichever way
its branches go. Names that are imported, deleted, begin with `_`, or only serve a loop, a `with`
or an `except` are not.
"""
from __future__ import annotations

import ast
from dataclasses import dataclass

from coursekit.export_cells import Block, Problem

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# decorators by which a second def adds to the first, or to a class, rather than replacing it; one
# with a class's name does so too
ADDING = {'overload', 'register', 'setter', 'getter', 'deleter', 'dispatch', 'typedispatch',
          'patch',
          'patch_to'}
UNSURE = ('is defined on some paths only, and where it is not, `import *` fails: define it on '
          'every path, or begin its name with _')
PATCHING = {'patch', 'patch_to'}


@dataclass
class Binding:
    """A name bound by a statement. `own`: defined here, not imported. `sure`: on every path.
    `adds`: made from, or added to, what the name held before."""
    name: str
    line: int
    own: bool = True
    sure: bool = True
    adds: bool = False


@dataclass
class Defined:
    """Where a chapter binds a name."""
    block: Block
    binding: Binding


def define(blocks: list[Block]) -> tuple[dict[str, Defined], list[Problem]]:
    "The names the blocks bind at their top level, in order, and the problems met on the way."
    found, problems = {}, []
    for block in blocks:
        for node in block.tree.body:
            for name in deleted(node):
                found.pop(name, None)
            for name, new in effect(node).items():
                old = found.get(name)
                if old and (message := at_odds(old, new, block)):
                    problems.append(block.problem(new.line, message))
                if not old or not new.adds or (new.own and not old.binding.own):
                    new.sure = new.sure or bool(old and old.binding.sure)
                    found[name] = Defined(block, new)
        problems += declared_all(block)
    problems += [d.block.problem(d.binding.line, f'`{name}` {UNSURE}')
                 for name, d in found.items() if is_public(name, d) and not d.binding.sure]
    return found, problems


def public(found: dict[str, Defined]) -> list[str]:
    return [name for name, d in found.items() if is_public(name, d)]


def is_public(name: str, d: Defined) -> bool:
    return d.binding.own and not name.startswith('_')


def at_odds(old: Defined, new: Binding, block: Block) -> str | None:
    "Why a name may not be bound again in another cell; None where it may."
    if old.block is block or new.adds or new.name.startswith('_'):
        return None
    if not old.binding.own and not new.own:
        return None  # imported twice
    did, does = ('defines' if b.own else 'imports' for b in (old.binding, new))
    cell = f'cell {old.block.cell.number} (#{old.block.cell.id})'
    if did == does:
        return f'defines `{new.name}`, which {cell} defines already: export the final version only'
    return (f'{does} `{new.name}`, which {cell} {did}: which of the two a reader gets depends on '
            'the order')


def declared_all(block: Block) -> list[Problem]:
    "Assignments to `__all__`, which is ours to write."
    message = 'sets `__all__`, which the exporter writes: begin a name with _ to keep it out'
    nodes = ast.walk(block.tree) if '__all__' in block.text else ()
    return [block.problem(n.lineno, message) for n in nodes
            if isinstance(n, ast.Name) and n.id == '__all__' and not isinstance(n.ctx, ast.Load)]


# ---- what one statement binds

def effect(node: ast.stmt) -> dict[str, Binding]:
    "The names a statement of the top level binds, those of loops, `with` and `except` left out."
    kind = type(node)
    if kind in (*FUNCTIONS, ast.ClassDef):
        return one(definition(node))
    if kind in (ast.Import, ast.ImportFrom):
        names = (a.asname or a.name.partition('.')[0] for a in node.names if a.name != '*')
        return {n: Binding(n, node.lineno, own=False) for n in names}
    if kind is ast.Assign or kind is ast.AnnAssign and node.value:
        targets = node.targets if kind is ast.Assign else [node.target]
        named = {n: Binding(n, node.lineno, adds=mentions(node.value, n))
                 for t in targets for n in stored(t)}
        return assigned([*targets, node.value], node) | named
    if kind.__name__ == 'TypeAlias':
        return one(Binding(node.name.id, node.lineno))
    if kind is ast.If:
        return either(node)
    if kind in (ast.Try, getattr(ast, 'TryStar', None)):
        return attempted(node)
    if kind in (ast.With, ast.AsyncWith):
        return together(node.body)
    if kind in (ast.For, ast.AsyncFor, ast.While):
        return together(node.body + node.orelse)
    if kind is ast.Match:
        return unsure(*(together(c.body) for c in node.cases))
    return assigned([node], node) if kind is ast.Expr else {}


def one(binding: Binding) -> dict[str, Binding]:
    return {binding.name: binding}


def definition(node) -> Binding:
    decorators = {d.attr if isinstance(d, ast.Attribute) else getattr(d, 'id', '')
                  for d in (getattr(d, 'func', d) for d in node.decorator_list)}
    above = [*node.decorator_list, *getattr(node, 'bases', ())]
    adds = (bool(decorators & ADDING) or any(d[:1].isupper() for d in decorators)
            or any(mentions(n, node.name) for n in above))
    return Binding(node.name, node.lineno, own=not decorators & PATCHING, adds=adds)


def stored(target: ast.expr) -> list[str]:
    "The names in an assignment's target: those of a tuple, but not the `a` of `a.b` or `a[0]`."
    if isinstance(target, ast.Name):
        return [target.id]
    if isinstance(target, (ast.Tuple, ast.List)):
        return [n for t in target.elts for n in stored(t)]
    return stored(target.value) if isinstance(target, ast.Starred) else []


def assigned(nodes: list, where: ast.stmt) -> dict[str, Binding]:
    "The names bound by `:=` in some expressions, outside the functions in them."
    found, todo = {}, list(nodes)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.NamedExpr):
            found[node.target.id] = Binding(node.target.id, where.lineno)
        if not isinstance(node, ast.Lambda):
            todo += ast.iter_child_nodes(node)
    return found


def mentions(node, name: str) -> bool:
    return any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(node))


def together(body: list) -> dict[str, Binding]:
    "What statements bind one after the other."
    found = {}
    for node in body:
        for name in deleted(node):
            found.pop(name, None)
        for name, new in effect(node).items():
            old = found.get(name)
            new.sure = new.sure or bool(old and old.sure)
            found[name] = new
    return found


def either(node: ast.If) -> dict[str, Binding]:
    if is_main(node.test):
        return {}
    return merge([together(b) for b in (node.body, node.orelse) if not leaves(b)])


def attempted(node) -> dict[str, Binding]:
    paths = [node.body + node.orelse, *(h.body for h in node.handlers)]
    return merge([together(b) for b in paths if not leaves(b)]) | together(node.finalbody)


def merge(paths: list[dict]) -> dict[str, Binding]:
    "One of several paths is taken: sure is what all bind, our own what none of them imports."
    found = {}
    for path in paths:
        for name, b in path.items():
            bound = [p[name] for p in paths if name in p]
            found[name] = Binding(name, b.line, all(x.own for x in bound),
                                  len(bound) == len(paths) and all(x.sure for x in bound),
                                  all(x.adds for x in bound))
    return found


def unsure(*paths: dict) -> dict[str, Binding]:
    return merge([*paths, {}])


def leaves(body: list) -> bool:
    "Does the path end here, so that what it does not define does not matter?"
    return bool(body) and isinstance(body[-1], ast.Raise)


def is_main(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and mentions(test, '__name__')


def deleted(node: ast.stmt) -> list[str]:
    targets = node.targets if isinstance(node, ast.Delete) else []
    return [n for t in targets for n in stored(t)]
