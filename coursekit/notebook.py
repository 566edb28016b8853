"""Reading a notebook and finding the course it belongs to: what the exporter and the runner share.

Notebooks are read with `json` alone: importing nbformat costs more than exporting a whole course.
"""
from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

NAME = re.compile(r'^(\d+[a-z]*)_(.+)\.ipynb$')


class CourseError(Exception):
    """Something the user can mend: the message names what is wrong, where, and what to do."""


@dataclass
class Cell:
    """One cell as a reader meets it. `number` is its 1-based place in the list of all cells."""
    number: int
    id: str
    kind: str
    source: str
    tags: list[str]
    heading: str
    metadata: dict = field(repr=False)
    outputs: list = field(repr=False)

    def where(self, notebook: 'Notebook', line: int | None = None) -> str:
        "`03_x.ipynb cell 7 (#a1b2), under \"Softmax\", line 2`, the form every message uses."
        text = f'{notebook.path.name} cell {self.number} (#{self.id})'
        if self.heading:
            text += f', under "{self.heading}"'
        return text + (f', line {line}' if line is not None else '')


@dataclass
class Notebook:
    """A notebook on disk: its path, number (`02a`), title, cells and the raw JSON."""
    path: Path
    number: str | None
    title: str
    cells: list[Cell]
    raw: dict = field(repr=False)

    @property
    def module(self) -> str | None:
        "The module its export cells go to (`nb_02a`), or None for a notebook outside the numbering."
        return f'nb_{self.number}' if self.number else None


def joined(source) -> str:
    "A cell's text, whether the file holds it as one string or as a list of lines."
    return source if isinstance(source, str) else ''.join(source)


def load(path) -> Notebook:
    """Read a notebook.

    Raises CourseError when the file is missing, is not JSON, or is not a version 4 notebook.
    """
    path = Path(path)
    try:
        raw = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        raise CourseError(f'{path}: there is no such notebook') from None
    except IsADirectoryError:
        raise CourseError(f'{path}: is a folder, not a notebook') from None
    except UnicodeDecodeError as e:
        raise CourseError(f'{path}: is not UTF-8 text (byte {e.start})') from None
    except RecursionError:
        raise CourseError(f'{path}: is JSON nested too deeply for a notebook') from None
    except json.JSONDecodeError as e:
        raise CourseError(f'{path}: is not valid JSON: {e.msg} at line {e.lineno}, column {e.colno}; '
                          'was it cut off, or is it in the middle of a merge?') from None
    return parse(raw, path)


def parse(raw, path) -> Notebook:
    "A `Notebook` from JSON already read; `path` only names it."
    path = Path(path)
    if not isinstance(raw, dict) or not isinstance(raw.get('cells'), list):
        version = raw.get('nbformat') if isinstance(raw, dict) else None
        what = f'a version {version} notebook' if version else 'JSON, but no notebook'
        raise CourseError(f'{path}: is {what}; a version 4 notebook with a list of cells is needed')
    cells, heading = [], ''
    for i, c in enumerate(raw['cells'], 1):
        try:
            source, kind, meta = joined(c['source']), c['cell_type'], c.get('metadata') or {}
            tags = list(meta.get('tags') or [])
        except (KeyError, TypeError, AttributeError):
            raise CourseError(f'{path}: cell {i} has no source or no cell_type, or its metadata is '
                              'not what a notebook has') from None
        if kind == 'markdown':
            heading = last_heading(source) or heading
        cells.append(Cell(i, c.get('id') or f'cell-{i}', kind, source, tags,
                          heading, meta, c.get('outputs') or []))
    m = NAME.match(path.name)
    title = next((h for c in cells if c.kind == 'markdown' and (h := first_heading(c.source))), '')
    return Notebook(path, m[1] if m else None, title or (m[2] if m else path.stem), cells, raw)


def headings(source: str) -> list[str]:
    "The titles of a markdown cell's `#` headings, those inside fenced code left out."
    found, fenced = [], False
    for line in source.splitlines():
        if line.lstrip().startswith(('```', '~~~')):
            fenced = not fenced
        elif not fenced and (m := re.match(r'#{1,6}\s+(.+?)\s*#*\s*$', line)):
            found.append(m[1])
    return found


def first_heading(source: str) -> str:
    return next(iter(headings(source)), '')


def last_heading(source: str) -> str:
    return (headings(source) or [''])[-1]


def find_root(start=None, root=None) -> Path:
    """The course's folder: `root` if given, else the nearest folder at or above `start` that holds `nbs/`.

    Raises CourseError when there is none.
    """
    if root is not None:
        root = Path(root).absolute()
        if not root.is_dir():
            raise CourseError(f'--root {root}: there is no such folder')
        return root
    start = Path(start or '.').absolute()
    for folder in (start, *start.parents):
        if (folder / 'nbs').is_dir():
            return folder
    raise CourseError(f'no course found: neither {start} nor any folder above it holds nbs/; name one with --root')


def course_notebooks(root) -> list[Path]:
    "The notebooks of a course in reading order; checkpoints and hidden files are left out."
    found = [p for p in Path(root, 'nbs').glob('*.ipynb') if not p.name.startswith('.')]
    return sorted(found, key=sort_key)


def sort_key(path) -> tuple:
    "Reading order: 2 before 10, 02 before 02a, unnumbered notebooks last."
    m = re.match(r'(\d+)([a-z]*)_', Path(path).name)
    return (0, int(m[1]), m[2], Path(path).name) if m else (1, 0, '', Path(path).name)
