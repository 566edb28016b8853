"""The text of an exported module, to and fro: header, `__all__`, markers, blocks, last lines.

    \"\"\"Title of the chapter … \"\"\"
    # notebook2script 1 sha256:… head:…     was anything edited by hand? was the docstring?
    __all__ = ['matmul']


    # %% 01_matmul.ipynb cell 7 #a1b2c3d4
    def matmul(a, b): …


    # cell hashes: a1b2c3d4:3f2a9c41 …      which cells are above, each with the hash of its text

Hashes are taken over text with `\\n` line ends, so that a checkout which translates line ends does
not look like an edit. The line ends that a cell stops with do not count either: editors tidy them.
"""
from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256

from coursekit.notebook import CourseError

VERSION = 1
WIDTH = 100
GAP = '\n\n\n'
STAMP = re.compile(r'^# notebook2script (\d+) sha256:([0-9a-f]{16}) head:([0-9a-f]{8})\r?$', re.M)
NAMES = re.compile(r'''^__all__ = \[\s*((?:['"]\w+['"],?\s*)*)\]\r?$''', re.M)
MARKER = re.compile(r'^# %% (.+\.ipynb) cell (\d+) #(\S+)[ \t]*\r?$', re.M)
HASHES = re.compile(r'^# cell hashes:(?:[ \r\n#]+[\w-]+:[0-9a-f]{8}(?:\+\d+)?)+\r?$', re.M)
FUTURE = re.compile(r'^from[ \t]+__future__[ \t]+import\b', re.M)
SOURCE = re.compile(r'^Exported from nbs/(.+?\.ipynb):', re.M)


@dataclass(frozen=True)
class Entry:
    """What a module's last lines say of a cell: its id, the hash of its text as it was exported,
    and how many lines of that text look like markers."""
    id: str
    hash: str
    lookalikes: int = 0

    def __str__(self) -> str:
        return f'{self.id}:{self.hash}' + (f'+{self.lookalikes}' if self.lookalikes else '')


@dataclass
class Module:
    """What a module made by this tool says of itself. `intact`: nobody has edited it by hand since.
    `cells` is None when its last lines are missing or damaged."""
    text: str
    version: int
    title: str
    notebook: str
    names: list[str]
    cells: list[Entry] | None
    intact: bool


# ---- writing

def render(notebook: str, title: str, names: list[str], blocks: list[tuple[int, str, str]],
           known: list[Entry] | None = None) -> str:
    """The module of a notebook.

    `notebook` is the file's name, `blocks` are `(cell number, cell id, text)`, `known` their
    entries. A first block with `from __future__` imports goes above `__all__`, as Python wants
    it.
    """
    told = [f'# %% {notebook} cell {number} #{id}\n{text}' for number, id, text in blocks]
    first = [told.pop(0)] if blocks and has_future(blocks[0][2]) else []
    listed = wrapped('__all__ = [', map(repr, names), ', ', ' ' * 11) + ']'
    footer = wrapped('# cell hashes: ', map(str, known or entries(blocks)), ' ', '#   ')
    rest = (GAP[1:] if first else '') + GAP.join([*first, listed, *told, footer]) + '\n'
    return stamped(docstring(title, f'Exported from nbs/{notebook}: change the notebook and export '
                                    'it again, or change this\nfile and bring the change back '
                                    'with `python notebook2script.py --update`.\n'), rest)


def entries(blocks: list[tuple[int, str, str]]) -> list[Entry]:
    return [Entry(id, digest(text), len(MARKER.findall(text)) if '# %% ' in text else 0)
            for _, id, text in blocks]


def docstring(title: str, more: str) -> str:
    title = ''.join(c for c in ' '.join(title.split()) if c.isprintable())
    return '"""{}\n\n{}"""\n'.format(quotable(title), more)


def quotable(text: str) -> str:
    "Text as it can stand in a docstring."
    return text.replace('\\', '\\\\').replace('"', "'").encode(errors='replace').decode()


def stamped(head: str, rest: str, version: int = VERSION) -> str:
    "A module: its docstring, the line that tells whether it was edited, and the rest."
    return (f'{head}# notebook2script {version} sha256:{digest(head + rest, 16)} '
            f'head:{digest(head)}\n{rest}')


def digest(text: str, n: int = 8) -> str:
    return sha256(unix(text).rstrip('\n').encode(errors='surrogatepass')).hexdigest()[:n]


def unix(text: str) -> str:
    "The text with `\\n` line ends."
    return text.replace('\r\n', '\n').replace('\r', '\n') if '\r' in text else text


def has_future(text: str) -> bool:
    return '__future__' in text and FUTURE.search(unix(text)) is not None


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


# ---- reading back

def read(text: str) -> Module | None:
    "What a module says of itself, or None where this tool did not make it."
    text = plain(text)
    m = STAMP.search(text)
    if not m:
        return None
    head, rest, version = text[:m.start()], text[m.end() + 1:], int(m[1])
    hashes, source = last(HASHES.finditer(rest)), SOURCE.search(head)
    cells = [entry(e) for e in hashes[0].split()[3:] if e != '#'] if hashes else None
    names = NAMES.match(rest) or below_first(rest, cells)
    return Module(text, version,
                  head.partition('\n')[0].removeprefix('"""').strip().replace('\\\\', '\\'),
                  source[1] if source else '', re.findall(r'\w+', names[1]) if names else [],
                  cells, unix(text) == unix(stamped(head, rest, version)))


def below_first(rest: str, cells: list[Entry] | None) -> re.Match | None:
    "The `__all__` below a first block with `from __future__` imports."
    try:
        markers = real_markers(cut_footer(rest), cells, '') if cells else []
    except CourseError:
        markers = list(MARKER.finditer(rest))
    return last(NAMES.finditer(rest, 0, markers[1].start() if len(markers) > 1 else len(rest)))


def plain(text: str) -> str:
    "A file's text without a byte order mark, and with `\\n` where all line ends were translated."
    text = text.removeprefix('\ufeff')
    translated = '\r\n' in text and text.count('\r\n') == text.count('\n')
    return text.replace('\r\n', '\n') if translated else text


def entry(text: str) -> Entry:
    id, _, hashed = text.partition(':')
    hashed, _, n = hashed.partition('+')
    return Entry(id, hashed, int(n or 0))


def last(items):
    "The last of the items, or None."
    found = None
    for found in items:
        pass
    return found


def split(module: Module, name: str) -> dict[str, str]:
    """The text of each block by cell id, the line ends it stops with left out.

    Raises CourseError where it cannot be told which text belongs to which cell. `name` is the
    module's, for messages.
    """
    stamp = STAMP.search(module.text)
    if module.cells is None:
        raise CourseError(f'{name}: its last line, `# cell hashes: …`, is missing or damaged, so '
                          'its blocks cannot be told apart: copy what you changed into the '
                          'notebook, then export with --force')
    text = cut_footer(module.text)
    markers = real_markers(text, module.cells, name)
    above = NAMES.sub('', text[stamp.end():markers[0].start() if markers else len(text)], count=1)
    if above.strip():
        raise CourseError(f'{name}: `{above.strip().splitlines()[0]}` stands above the first '
                          'marker, in no cell: move it below the `# %%` line of the cell it '
                          'should go to')
    ends = [m.start() for m in markers[1:]] + [len(text)]
    found = {m[3]: text[m.end() + 1:end].rstrip('\r\n') for m, end in zip(markers, ends)}
    if markers and not NAMES.search(text, stamp.end(), markers[0].start()):
        id = markers[0][3]
        found[id] = without_names(found[id], name)
    return found


def cut_footer(text: str) -> str:
    "The text without its last lines; what was written below them belongs to the last block."
    m = last(HASHES.finditer(text))
    below = text[m.end():]
    return text[:m.start()].rstrip('\r\n') + (GAP + below.lstrip('\r\n') if below.strip() else '\n')


def without_names(text: str, name: str) -> str:
    "A first block without the `__all__` that follows its `from __future__` imports."
    m = last(NAMES.finditer(text))
    if not m:
        raise CourseError(f'{name}: `__all__` is missing; put it back, or export with --force')
    if text[m.end():].strip():
        raise CourseError(f'{name}: `{text[m.end():].strip().splitlines()[0]}` stands between '
                          '`__all__` and the next marker, in no cell: move it below a `# %%` line')
    return text[:m.start()].rstrip('\r\n')


def real_markers(text: str, cells: list[Entry], name: str) -> list[re.Match]:
    "The markers of the blocks, those left out that are lines of a cell's own text."
    found = list(MARKER.finditer(text))
    if len(found) == sum(1 + c.lookalikes for c in cells):
        at = [sum(1 + c.lookalikes for c in cells[:i]) for i in range(len(cells))]
        found = [found[i] for i in at]
    ids, known = [m[3] for m in found], [c.id for c in cells]
    if ids == known:
        return found
    if lost := [id for id in known if id not in ids]:
        raise CourseError(f'{name}: the block of cell #{lost[0]} or the marker above it (`# %% … '
                          f'#{lost[0]}`) is gone: put the marker back; to be rid of the cell, '
                          'delete it in the notebook and export with --force')
    if new := [m for m in found if m[3] not in known]:
        raise CourseError(f'{name}: there was no cell #{new[0][3]} when it was exported: a new '
                          'cell has to be made in the notebook; take the line '
                          f'`{new[0][0].strip()}` out')
    twice = [id for id in ids if ids.count(id) > 1]
    what = (f'the marker of cell #{twice[0]} stands there twice' if twice
            else 'its blocks are in another order')
    raise CourseError(f'{name}: {what}: put the markers back as they were (cells are moved in the '
                      'notebook)')


def locate(text: str, line: int) -> tuple[str, int, str, int] | None:
    """Where in the notebook a line of a module comes from: `(notebook, cell number, cell id, line
    of the cell)`, or None for a line of the header or of a module that this tool did not make."""
    module = read(text)
    try:
        found = module and module.cells
        markers = real_markers(cut_footer(module.text), module.cells, '') if found else []
    except CourseError:
        markers = list(MARKER.finditer(module.text))
    at = [(module.text.count('\n', 0, m.start()) + 1, m) for m in markers]
    above = last((start, m) for start, m in at if start < line)
    return (above[1][1], int(above[1][2]), above[1][3], line - above[0] + 1) if above else None
