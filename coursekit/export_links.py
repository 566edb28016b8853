"""What chapters take from each other: imports from `exp`."""
from __future__ import annotations

import ast
import re
from pathlib import Path

from coursekit.export_cells import Block, Problem
from coursekit.export_files import read_text
from coursekit.export_module import read

MAY_IMPORT = re.compile(r'\bexp\b|from\s*\.|import\s*\*')


class Shelf:
    """The modules of `exp/` as they will be: those being exported, and else those on disk.

    `texts` maps the modules being exported to their text, `names` to their public names (None where
    they are not known because a cell is broken). `gone` are modules whose notebook is gone.
    """

    def __init__(self, exp: Path, names: dict, texts: dict, gone=()):
        self.exp, self.known, self.texts, self.gone = exp, names, texts, set(gone)

    def exists(self, module: str) -> bool:
        if module in self.known or module in self.gone:
            return module in self.known
        there = (self.exp / f'{module}.py').exists() or (self.exp / module).is_dir()
        return there or self.has_notebook(module)

    def has_notebook(self, module: str) -> bool:
        "Is there a notebook that just was not exported yet?"
        nbs = self.exp.parent / 'nbs'
        return module.startswith('nb_') and any(nbs.glob(f'{module[3:]}_*.ipynb'))

    def names(self, module: str) -> set[str] | None:
        "What `import *` brings; None where it cannot be known without running the module."
        if module in self.known:
            return None if self.known[module] is None else set(self.known[module])
        made = read(read_text(self.exp / f'{module}.py') or '')
        return set(made.names) if made else None

    def provides(self, module: str, name: str) -> bool:
        "Can `name` be imported from the module? True also where that cannot be known."
        names = self.names(module)
        broken = self.known.get(module, ()) is None
        return broken or name in (names or ()) or self.binds(module, name)

    def binds(self, module: str, name: str) -> bool:
        from coursekit.export_scopes import uses
        text = self.texts.get(module) or read_text(self.exp / f'{module}.py')
        try:
            return (text is None or 'import *' in text or '__getattr__' in text
                    or name in uses(ast.parse(text).body).binds)
        except (SyntaxError, ValueError):
            return True


def imports(tree: ast.Module) -> list[ast.stmt]:
    return [n for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom))]


def from_exp(node: ast.ImportFrom) -> str | None:
    "The part of `exp` that an import is from: `nb_00`, '' for `exp` itself, None for others."
    module = node.module or ''
    if node.level == 1:
        return module
    if node.level or module.split('.')[0] != 'exp':
        return None
    return module.removeprefix('exp').lstrip('.')


def linked(module: str, blocks: list[Block],
           shelf: Shelf) -> tuple[list[Problem], list[set] | None]:
    """The problems with a chapter's imports from others, and block by block the names that come by
    `import *`; None in place of those where a star hides names that cannot be known."""
    problems, stars, opaque = [], [], False
    for block in blocks:
        brought = set()
        for node in imports(block.tree) if MAY_IMPORT.search(block.text) else ():
            problems += [block.problem(node.lineno, m) for m in wrong(node, module, shelf)]
            if isinstance(node, ast.ImportFrom) and node.names[0].name == '*':
                part = from_exp(node)
                names = shelf.names(part) if part else None
                opaque = opaque or names is None
                brought |= names or set()
        stars.append(brought)
    return problems, None if opaque else stars


def wrong(node, module: str, shelf: Shelf) -> list[str]:
    "What is wrong with an import of, or from, a module of `exp`."
    if isinstance(node, ast.Import):
        wanted = [a.name.split('.')[1] for a in node.names if a.name.startswith('exp.')]
        return [m for w in wanted for m in absent(w, module, shelf)]
    part, names = from_exp(node), [a.name for a in node.names]
    if part is None:
        return []
    if not part:
        return [m for n in names if n.startswith('nb_') for m in absent(n, module, shelf)]
    part = part.split('.')[0]
    return absent(part, module, shelf) or [
        f'imports `{n}` from exp.{part}, which defines no such name' for n in names
        if n != '*' and not shelf.provides(part, n)]


def absent(wanted: str, module: str, shelf: Shelf) -> list[str]:
    if wanted == module:
        return [f'imports exp.{wanted}, the module it is exported to itself']
    if shelf.exists(wanted):
        return []
    message = f'imports exp.{wanted}, but there is no exp/{wanted}.py'
    if wanted.startswith('nb_'):
        message += f' and no notebook {wanted[3:]}_….ipynb that would export it'
    return [message]
