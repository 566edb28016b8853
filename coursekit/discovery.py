"""Which notebooks there are, and which of them, or of their cells, cannot or shall not run here."""
from __future__ import annotations

import glob
import os
import shutil
from pathlib import Path

from .notebook import CourseError, Notebook, course_notebooks, find_root, sort_key

KNOWN_TAGS = ('gpu', 'net', 'slow')


def lacking(name: str) -> str:
    "Why this machine does not have what a notebook needs; empty when it does."
    if name == 'gpu':
        if not (shutil.which('nvidia-smi') or os.path.exists('/dev/nvidiactl')):
            return 'there is no GPU here'
        if os.environ.get('CUDA_VISIBLE_DEVICES', '0') in ('', '-1'):
            return 'CUDA_VISIBLE_DEVICES hides the GPU'
    elif name == 'net':
        if os.environ.get('COURSE_OFFLINE', '') not in ('', '0'):
            return 'COURSE_OFFLINE is set'
    elif name != 'slow' and not shutil.which(name):
        return f'there is no program {name!r} here'
    return ''


def unwanted(name: str, skip) -> str:
    "Why what is tagged with `name` is left out; empty when it is not."
    if name in skip:
        return f'--skip {name}'
    return f'needs {name}: {reason}' if (reason := lacking(name)) else ''


def foreign(notebook: Notebook) -> str:
    "The language a notebook is in, if its metadata name one and it is not Python."
    meta = notebook.raw.get('metadata') or {}
    kernel, info = meta.get('kernelspec') or {}, meta.get('language_info') or {}
    name = kernel.get('language') or info.get('name')
    return name if isinstance(name, str) and name.lower() not in ('python', 'ipython') else ''


def skipped_cells(notebook: Notebook, skip) -> dict[int, str]:
    "Number -> reason, for the code cells that are to be left out."
    found = {}
    for c in notebook.cells:
        reasons = (unwanted(tag, skip) for tag in c.tags if tag in KNOWN_TAGS)
        if c.kind == 'code' and (why := next(filter(None, reasons), '')):
            found[c.number] = why
    return found


def hidden(path: Path) -> bool:
    return any(part.startswith('.') for part in path.parts)


def find_notebooks(paths, root: Path) -> list[Path]:
    "The notebooks that paths, folders and globs name, each once; none named: the course."
    found = []
    for name in map(str, paths):
        path = Path(name)
        if path.is_dir():
            here = sorted(path.rglob('*.ipynb'), key=lambda p: (p.parent, sort_key(p)))
            here = [p for p in here if not hidden(p.relative_to(path))]
            if not here:
                raise CourseError(f'{name}: there is no notebook in this folder')
        elif path.is_file():
            here = [path]
        else:
            here = sorted(map(Path, glob.glob(name, recursive=True)), key=sort_key)
            here = [p for p in here if p.suffix == '.ipynb']
            if not here:
                raise CourseError(f'{name}: there is no such notebook, '
                                  'and as a pattern it matches none')
        found += here
    found = [p.absolute() for p in found] if paths else course_notebooks(root)
    return list(dict.fromkeys(Path(os.path.normpath(p)) for p in found))


def root_of(paths, root=None) -> Path:
    "The course's folder; for notebooks that belong to none, the folder of the first."
    start = Path(os.path.abspath(str(paths[0]) if paths else '.'))
    start = start if start.is_dir() else start.parent
    while not start.is_dir():  # a glob with wild folders
        start = start.parent
    try:
        return Path(os.path.abspath(find_root(start, root)))
    except CourseError:
        if root is not None or not paths:
            raise
        return start
