"""The way back: what was edited in a module goes into the notebook's cell that it came from.

A cell is found by its id, so it may have moved since. Whether the module, the notebook or both were
changed since the last export is told by the hash which the module keeps of each cell.
"""
from __future__ import annotations

import json
import re

from coursekit import notebook
from coursekit.export_cells import Block
from coursekit.export_files import read_text
from coursekit.export_module import digest, plain, split
from coursekit.export_plan import Chapter, Course, ExportError, chapter
from coursekit.notebook import CourseError

SPACE = re.compile(r'[ \t\r\n]*')
# an escape that JSON does not ask for, as it does for control characters
ESCAPE = re.compile(r'(?<!\\)(?:\\\\)*\\u(?!00[01])')
LINES = 30
scan = json.JSONDecoder().raw_decode


def bring_back(course: Course, force: bool = False) -> dict:
    """Put the edits of all modules into the course's notebooks, in memory.

    Returns `{path: new text}` for the notebooks that change. Where module and notebook were both
    changed, `force` lets the module win. Raises ExportError with everything that stands in the way.
    """
    texts, problems = {}, []
    for i, c in enumerate(course.chapters):
        try:
            edits = edited_cells(c, force) if c.edited and c.old else {}
            if edits:
                texts[c.notebook.path] = text = with_sources(read_text(c.notebook.path), edits)
                changed = notebook.parse(json.loads(text), c.notebook.path)
                course.chapters[i] = chapter(changed, course.root)
        except CourseError as e:
            problems.append(str(e))
    problems += [f'exp/{p.name} was edited by hand, but the notebook it came from '
                 f'(nbs/{m.notebook}) is gone or exports nothing: its edit has no cell to go '
                 'to' for p, m in course.stale.items()
                 if not m.intact]
    if problems:
        raise ExportError('\n'.join(problems))
    return texts


def edited_cells(c: Chapter, force: bool) -> dict[int, str]:
    "The new sources of a chapter's cells, by place (from 0), that its module's edits ask for."
    check_head(c)
    texts = split(c.old, c.label)
    hashes = {e.id: e.hash for e in c.old.cells}
    changed = {id: text for id, text in texts.items() if digest(text) != hashes[id]}
    found, problems = {}, []
    for id, text in changed.items():
        try:
            block = cell_for(c, id, hashes[id], text)
            if digest(block.text) not in (hashes[id], digest(text)) and not force:
                raise CourseError(conflict(c, block, text))
            if digest(block.text) != digest(text):
                found[block.cell.number - 1] = source(block, text)
        except CourseError as e:
            problems.append(str(e))
    if problems:
        raise CourseError('\n'.join(problems))
    return found


def check_head(c: Chapter) -> None:
    "Refuse a docstring that was edited: it has no cell to go to."
    head, _, rest = c.old.text.partition('# notebook2script ')
    if f'head:{digest(head)}' not in rest.partition('\n')[0]:
        raise CourseError(f'{c.label}: its docstring was edited, but it is made from the title of '
                          'the notebook: change it there, and put the docstring back or use '
                          '--force')


def cell_for(c: Chapter, id: str, hashed: str, text: str) -> Block:
    "The export cell that a block came from."
    named = [b for b in c.blocks if b.cell.id == id]
    if has_ids(c):
        if named:
            return named[0]
        there = any(x.id == id for x in c.notebook.cells)
        state = 'is no longer an export cell' if there else 'is gone'
        raise CourseError(f'{c.label}: the block of cell #{id} was edited, but in '
                          f'{c.notebook.path.name} that cell {state}: take the edit over by hand, '
                          'then export with --force')
    same = [b for b in c.blocks if digest(b.text) in (hashed, digest(text))]
    if len(same) != 1:
        raise CourseError(f'{c.label}: the block of {id.replace("-", " ")} was edited, but '
                          f'{c.notebook.path.name} has no cell ids, and which cell it was can no '
                          'longer be told: take the edit over by hand, then export with --force '
                          '(saving the notebook in a current Jupyter gives it ids)')
    return same[0]


def has_ids(c: Chapter) -> bool:
    return any('id' in raw for raw in c.notebook.raw['cells'])


def conflict(c: Chapter, block: Block, text: str) -> str:
    from difflib import unified_diff
    where = block.cell.where(c.notebook)
    lines = list(unified_diff(plain(block.text).splitlines(), plain(text).splitlines(),
                              f'{c.notebook.path.name} cell {block.cell.number}', c.label,
                              lineterm='', n=2))
    return '\n'.join([f'{where}: was changed in the notebook, and its block in {c.label} too, '
                      'since the last export. Make them equal, or let the module win (--update '
                      '--force) or the notebook (--force)',
                      *lines[:LINES], *(['…'] if len(lines) > LINES else [])])


def source(block: Block, text: str) -> str:
    "The cell's new source: the edited text, with the directive and the line ends as they were."
    old = block.text
    if not text:
        return block.above + block.directive
    if '\r\n' in old and old.count('\r\n') == old.count('\n'):
        text = text.replace('\r\n', '\n').replace('\n', '\r\n')
    text += old[len(old.rstrip('\r\n')):]
    above = block.above if text.startswith(block.above) else ''
    directive = block.directive
    if not directive.endswith(('\n', '\r')):
        directive += '\n'
    return above + directive + text[len(above):]


# ---- changing a source inside the text of an .ipynb, and nothing else

def with_sources(text: str, sources: dict[int, str]) -> str:
    "The notebook's text with the sources of some cells, numbered from 0, replaced."
    spans = source_spans(text)
    for at, new in sorted(sources.items(), reverse=True):
        start, end = spans[at]
        text = text[:start] + encoded(text, start, end, new) + text[end:]
    return text


def source_spans(text: str) -> list[tuple[int, int]]:
    "Where the `source` of each cell stands in a notebook's text."
    start = members(text, skip(text, 0))['cells'][0]
    return [members(text, at)['source'] for at, _ in elements(text, start)]


def members(text: str, at: int) -> dict[str, tuple[int, int]]:
    "The places of the values of the JSON object that begins at `at`."
    found, at = {}, skip(text, at + 1)
    while text[at] != '}':
        key, at = scan(text, at)
        start = skip(text, skip(text, at) + 1)
        end = scan(text, start)[1]
        found[key] = start, end
        at = after(text, end)
    return found


def elements(text: str, at: int) -> list[tuple[int, int]]:
    "The places of the elements of the JSON array that begins at `at`."
    found, at = [], skip(text, at + 1)
    while text[at] != ']':
        end = scan(text, at)[1]
        found.append((at, end))
        at = after(text, end)
    return found


def skip(text: str, at: int) -> int:
    return SPACE.match(text, at).end()


def after(text: str, end: int) -> int:
    "Past the comma, if there is one."
    at = skip(text, end)
    return skip(text, at + 1) if text[at] == ',' else at


def encoded(text: str, start: int, end: int, new: str) -> str:
    "A source as JSON, written the way the old one at `text[start:end]` is."
    escaped = text.isascii() and ESCAPE.search(text) is not None

    def string(s):
        return json.dumps(s, ensure_ascii=escaped)
    if text[start] == '"':
        return string(new)
    inner = text[start + 1:end - 1]
    opening, closing = SPACE.match(inner)[0], inner[len(inner.rstrip(' \t\r\n')):]
    if not inner.strip():
        opening, closing = indents(text, start)
    between = opening or separator(text, start, inner)
    lines = new.splitlines(keepends=True)
    if not lines:
        return '[]'
    return '[' + opening + (',' + between).join(map(string, lines)) + closing + ']'


def separator(text: str, start: int, inner: str) -> str:
    "The space after a comma in a list on one line; with nothing to go by, that after its colon."
    end = scan(inner, 0)[1] if inner.strip() else 0
    if ',' in inner[end:]:
        return SPACE.match(inner, skip(inner, end) + 1)[0]
    return '' if text[start - 1] == ':' else ' '


def indents(text: str, start: int) -> tuple[str, str]:
    "The line breaks inside an empty list, from the indentation of its key and the one of the file."
    line = text[text.rfind('\n', 0, start) + 1:start]
    if '\n' not in text.strip():
        return '', ''
    own = line[:len(line) - len(line.lstrip(' \t'))]
    step = re.search(r'\n([ \t]+)', text)
    return '\n' + own + (step[1] if step else ' '), '\n' + own
