"""`exp/__init__.py`: which module comes from which chapter, and the names it has."""
from __future__ import annotations

import ast
import re
from pathlib import Path

from coursekit.export_files import read_text, same_text, write_all
from coursekit.export_module import (NAMES, SOURCE, STAMP, Module, docstring, plain, quotable,
                                     read, stamped, wrapped)
from coursekit.notebook import sort_key

NAMED = "        'names': ["


def index_text(entries: list[tuple[str, str, str, list[str]]]) -> str:
    "The text of `exp/__init__.py` for `(notebook, module, title, names)`, in reading order."
    entries = sorted(entries, key=lambda e: sort_key(e[0]))
    width = max([len(e[1]) for e in entries], default=0) + 3
    table = ''.join(f'{module:{width}}{quotable(title)}\n' + listed(names, ' ' * width)
                    for _, module, title, names in entries)
    chapters = ''.join(f'    {module!r}: {{\n'
                       f"        'title': {title!r},\n"
                       f"        'notebook': {notebook!r},\n"
                       f'{wrapped(NAMED, map(repr, names), ", ", " " * len(NAMED))}],\n'
                       '    },\n' for notebook, module, title, names in entries)
    title = 'The course as a library: a module for each chapter that exports something.'
    more = f'{table}\nWritten by notebook2script.py; `CHAPTERS` holds the same for programs.\n'
    return stamped(docstring(title, more), f'CHAPTERS = {{\n{chapters}}}\n')


def listed(names: list[str], indent: str) -> str:
    return wrapped(indent, names, ', ', indent) + '\n' if names else ''


def entry(path: Path, module: Module) -> tuple[str, str, str, list[str]]:
    return module.notebook, path.stem, module.title, module.names


def on_disk(exp: Path, leave_out=()) -> list[tuple[str, str, str, list[str]]]:
    "The entries of the modules that are there."
    found = []
    for path in exp.glob('nb_*.py'):
        module = None if path in leave_out else header(read_text(path) or '')
        found += [entry(path, module)] if module else []
    return found


def header(text: str) -> Module | None:
    "A module's own account of itself, read without checking whether it was edited."
    return read(text) if STAMP.search(text) and NAMES.search(text) and SOURCE.search(text) else None


def is_ours(text: str | None) -> bool:
    "May `exp/__init__.py` be written: is it absent, empty or made by this tool?"
    return not (text or '').strip() or STAMP.search(plain(text)) is not None


def holds_more(text: str | None) -> bool:
    """Did somebody add code of their own to an index that this tool made?

    Other changes are no loss, as all of it is made from the modules: it may come out of a merge.
    """
    if not text or not is_ours(text) or read(text).intact:
        return False
    lines = re.sub(r'^(?:<<<<<<<|=======|>>>>>>>|\|\|\|\|\|\|\|).*$', '', plain(text), flags=re.M)
    try:
        body = ast.parse(lines).body
    except SyntaxError:
        return lines == plain(text)
    return any(not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))
               and 'CHAPTERS' not in
               [getattr(t, 'id', '') for t in getattr(n, 'targets', ())] for n in body)


def refresh(exp: Path) -> None:
    """Make `exp/__init__.py` say what the modules on disk say.

    Whoever writes it looks again afterwards. So when several notebooks export at once, the last to
    write has seen the modules of all the others, without a lock.
    """
    index = exp / '__init__.py'
    for _ in range(100):
        text = index_text(on_disk(exp))
        if same_text(read_text(index), text):
            return
        write_all({index: text})
