"""Which files of a course were saved, told once each save is complete."""
from __future__ import annotations

import json
import time
from pathlib import Path

from .cache import BIG, code_of, data_files, digest
from .discovery import find_notebooks
from .notebook import CourseError, course_notebooks, load

PAUSE = 0.3     # seconds between two looks; a file is read once it stayed the same for one
PATIENCE = 2.0  # seconds that a notebook may stay unreadable, as its editor may still be writing


class Saves:
    """Looks at a course's notebooks, modules and data again and again.

    `paths`: what the run was asked for, none for the whole course.
    """

    def __init__(self, root, paths=()):
        self.root, self.paths = Path(root), list(paths)
        self.folder, self.data = None, []
        self.seen = {p: stamp(p) for p in self.files()}
        self.done, self.since = dict(self.seen), {}
        self.known = {p: essence(p) for p in self.seen}

    def files(self) -> set[Path]:
        "Everything that a run of the course may depend on and that somebody may edit."
        try:
            found = set(find_notebooks(self.paths, self.root)) if self.paths else set()
        except CourseError:  # the only one was removed; it may come back
            found = {Path(p).absolute() for p in self.paths}
        if (self.root / 'nbs').is_dir():
            found |= {*course_notebooks(self.root), *(self.root / 'nbs').glob('*.py'),
                      *(p for p in (self.root / 'exp').glob('*.py') if p.name != '__init__.py')}
        return found | set(self.data_files())

    def data_files(self) -> list[Path]:
        "The data of the course; git is asked again when the folder has other files than before."
        folder = stamp(self.root / 'data')
        if folder != self.folder:
            self.folder = folder
            self.data = [self.root / name for name in data_files(self.root)]
        return self.data

    def look(self, now: float | None = None) -> tuple[list[Path], list[Path]]:
        """-> the notebooks saved since the last look that told of them, and among all files those
        in which something changed that counts for a run.

        Nothing is told while a file is still changing: of many saves in a row, the last counts.
        """
        now = time.monotonic() if now is None else now
        stamps = {p: stamp(p) for p in self.files()}
        new = [p for p in stamps.keys() | self.done.keys() if stamps.get(p) != self.done.get(p)]
        for path in new:
            if stamps.get(path) != self.seen.get(path):
                self.since[path] = now
        settling = any(self.since.get(p) == now for p in new)
        self.seen = stamps
        contents = {} if settling else {p: essence(p) for p in new}
        if settling or any(c is None and now - self.since.get(p, now) < PATIENCE
                           for p, c in contents.items()):
            return [], []
        return self.take(stamps, contents)

    def take(self, stamps: dict, contents: dict) -> tuple[list[Path], list[Path]]:
        "Note what is new, so that it is told once."
        changed = sorted(p for p, c in contents.items() if c is None or c != self.known.get(p))
        self.done |= {p: stamps.get(p) for p in contents}
        self.known |= contents
        return sorted(p for p in contents if p.suffix == '.ipynb'), changed

    def made(self):
        "The modules were just written by ourselves, which is no save."
        paths = [p for p in self.files() if p.parent == self.root / 'exp']
        stamps = {p: stamp(p) for p in paths}
        self.seen |= stamps
        self.take(stamps, {p: essence(p) for p in paths if stamps[p] != self.done.get(p)})


def stamp(path: Path) -> tuple | None:
    "When a file was last written, its size and place; None if it is gone."
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def essence(path: Path) -> str | None:
    """What of a file counts for a run: of a notebook its code cells, their tags, and its `course`
    metadata; of a module all but the marks that say where a cell comes from. None: unreadable."""
    try:
        if path.suffix == '.ipynb':
            notebook = load(path)
            cells = [[c.source, sorted(c.tags)] for c in notebook.cells if c.kind == 'code']
            course = (notebook.raw.get('metadata') or {}).get('course')
            return digest(json.dumps([cells, course], sort_keys=True))
        return code_of(path) if path.stat().st_size <= BIG else 'big'
    except FileNotFoundError:
        return 'gone'
    except (CourseError, OSError, AttributeError):
        return None if path.exists() else 'gone'
