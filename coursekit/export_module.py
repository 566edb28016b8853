"""The text of an exported module, to and fro: header, `__all__`, markers and blocks.

    \"\"\"Title of the chapter … \"\"\"
    # notebook2script 1 sha256:… head:…     was anything edited by hand? was the docstring?
    __all__ = ['matmul']


    # %% 01_matmul.ipynb cell 7 #a1b2c3d4
    def matmul(a, b): …


    # cell hashes: a1b2c3d4:3f2a9c41 …      which cells are above, each with the hash of its text

Hashes are taken over text with `\\n` line ends, so that a checkout which translates line ends
does not look like an edit.
"""
from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256

VERSION = 1
WIDTH = 100
STAMP = re.compile(r'^# notebook2script (\d+) sha256:([0-9a-f]{16}) head:([0-9a-f]{8})$', re.M)
HASHES = re.compile(r'^# cell hashes:(?:[ \n#]+[\w-]+:[0-9a-f]{8}(?:\+\d+)?)+$', re.M)
MARKER = re.compile(r'^# %% (.+\.ipynb) cell (\d+) #(\S+)[ \t]*$', re.M)
NAMES = re.compile(r'^__all__ = \[([^\]]*)\]$', re.M)
GAP = '\n\n\n'


@dataclass
class Module:
    """What a module made by this tool says of itself. `intact` is False once it was edited by hand."""
    text: str
    version: int
    title: str
    notebook: str
    names: list[str]
    cells: list[tuple[str, str, int]]
    intact: bool


def unix(text: str) -> str:
    "The text with `\\n` line ends."
    return text.replace('\r\n', '\n').replace('\r', '\n') if '\r' in text else text


def digest(text: str, n: int = 8) -> str:
    "A short hash of a text; line ends and the line ends it stops with do not count."
    return sha256(unix(text).rstrip('\n').encode()).hexdigest()[:n]


def marker(notebook: str, number: int, id: str) -> str:
    return f'# %% {notebook} cell {number} #{id}'


def render(notebook: str, title: str, names: list[str], blocks: list[tuple]) -> str:
    """The module of a notebook.

    `notebook` is the file's name, `blocks` are `(cell number, cell id, text)`. A first block with
    `from __future__` imports goes above `__all__`, as Python wants it.
    """
    told = [marker(notebook, number, id) + '\n' + text for number, id, text in blocks]
    first = [told.pop(0)] if blocks and has_future(blocks[0][2]) else []
    listed = wrapped('__all__ = [', map(repr, names), ', ', ' ' * 11) + ']'
    hashes = [f'{id}:{digest(text)}' + (f'+{n}' if (n := len(MARKER.findall(unix(text)))) else '')
              for number, id, text in blocks]
    footer = wrapped('# cell hashes: ', hashes, ' ', '#   ')
    rest = (GAP[1:] if first else '') + GAP.join([*first, listed, *told, footer]) + '\n'
    head = docstring(notebook, title)
    return f'{head}{stamp(head, rest)}\n{rest}'


def docstring(notebook: str, title: str) -> str:
    title = ' '.join(title.replace('\\', '\\\\').replace('"', "'").split())
    return (f'"""{title}\n\nExported from nbs/{notebook}: change the notebook and export it again, or change this\n'
            'file and bring the change back with `python notebook2script.py --update`.\n"""\n')


def stamp(head: str, rest: str) -> str:
    return f'# notebook2script {VERSION} sha256:{digest(head + rest, 16)} head:{digest(head)}'


def has_future(text: str) -> bool:
    return re.search(r'^from[ \t]+__future__[ \t]+import\b', unix(text), re.M) is not None


def wrapped(start: str, items, between: str, indent: str) -> str:
    "The items in a row, folded into lines of at most WIDTH characters."
    lines, line, empty = [], start, True
    for item in items:
        if not empty and len(line) + len(between) + len(item) + 1 > WIDTH:
            lines.append((line + between).rstrip())
            line, empty = indent, True
        line += item if empty else between + item
        empty = False
    return '\n'.join([*lines, line])


def read(text: str) -> Module | None:
    "What the header of a module says, or None where this tool did not make it."
    text = unix(text.removeprefix('\ufeff'))
    m = STAMP.search(text)
    names = m and NAMES.search(text, m.end())
    hashes = last(HASHES.finditer(text, m.end())) if m else None
    if not (m and names and hashes):
        return None
    head, rest = text[:m.start()], text[m.end() + 1:]
    return Module(text, int(m[1]), head.split('\n', 1)[0].removeprefix('"""').replace('\\\\', '\\'),
                  source_name(head), re.findall(r"'([^']+)'", names[1]),
                  [cell_entry(c) for c in hashes[0].split()[3:] if c != '#'],
                  m[0] == stamp(head, rest))


def cell_entry(entry: str) -> tuple[str, str, int]:
    id, _, hashed = entry.partition(':')
    hashed, _, n = hashed.partition('+')
    return id, hashed, int(n or 0)


def source_name(head: str) -> str:
    m = re.search(r'^Exported from nbs/(.+?): ', head, re.M)
    return m[1] if m else ''


def last(items):
    "The last of the items, or None."
    found = None
    for found in items:
        pass
    return found
