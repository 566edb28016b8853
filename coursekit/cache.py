"""What earlier runs left in ROOT/.course: durations, failures, and what notebooks were made from.

`--changed` compares the fingerprint of today with that of the last run that passed, part by part,
so that it can say why a notebook is to be run again.
"""
from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from .notebook import Notebook
from .outputs import write_atomic
from .records import BLOCKED, PASSED, SKIPPED

PACKAGES = ('torch', 'torchvision', 'numpy', 'scipy', 'matplotlib', 'scikit-learn', 'fastai',
            'numba', 'pandas', 'ipython', 'ipykernel')
SETTINGS = ('COURSE_DATA', 'COURSE_OFFLINE')
VERSION = re.compile(r'^Version: *(\S+)', re.M)
BIG = 4_000_000  # bytes; a larger file under data/ is a download, not part of the course


def digest(data) -> str:
    data = data if isinstance(data, bytes) else data.encode('utf-8', 'surrogatepass')
    return hashlib.sha256(data).hexdigest()[:12]


def version(name: str) -> str:
    """A package's version. importlib.metadata's own parses the whole of its description for it.

    Raises PackageNotFoundError for one that is not there, or whose record is damaged.
    """
    found = VERSION.search(distribution(name).read_text('METADATA') or '')
    if not found:
        raise PackageNotFoundError(name)
    return found[1]


def versions() -> dict[str, str]:
    "What the results depend on besides the course: Python, packages, settings."
    found = {'python': '.'.join(map(str, sys.version_info[:3]))}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            pass
    return found | {name: os.environ[name] for name in SETTINGS if name in os.environ}


def data_files(root: Path) -> dict[str, str]:
    "The data that belongs to the course: what git tracks in data/ (without git: its small files)."
    folder = root / 'data'
    command = ['git', '-C', str(root), 'ls-files', '-z', '--', 'data']
    try:
        listed = subprocess.run(command, capture_output=True, check=True, timeout=10).stdout
        files = [root / name for name in listed.decode().split('\0') if name]
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        files = list(folder.glob('*')) if folder.is_dir() else []
    return {str(f.relative_to(root)): digest(f.read_bytes()) for f in sorted(files)
            if f.is_file() and f.suffix != '.md' and f.stat().st_size <= BIG}


def surroundings(root: Path) -> dict[str, str]:
    "What every notebook of the course depends on."
    return data_files(root) | versions()


def fingerprint(nb: Notebook, files, root: Path, around: dict, skip=()) -> dict:
    "All that a notebook's outcome depends on, name -> hash or version; `around`: `surroundings`."
    parts = {'cells': [[c.number, digest(json.dumps([c.source, sorted(c.tags)]))]
                       for c in nb.cells if c.kind == 'code']}
    course = nb.raw.get('metadata', {}).get('course')
    parts['course metadata'] = digest(json.dumps(course, sort_keys=True))
    parts['cells left out'] = ','.join(map(str, skip))
    parts |= {os.path.relpath(f, root): code_of(f) for f in files}
    return parts | around


MARKS = re.compile(rb'^# (?:%%|notebook2script) .*$', re.M)


def code_of(path: Path) -> str:
    "A module's hash without the exporter's marks, which move when prose is put between two cells."
    return digest(MARKS.sub(b'', path.read_bytes()))


def difference(old: dict, new: dict, via=lambda name: '') -> str:
    "Why a notebook is to be run again, in a few words; empty if it is not."
    reasons = [r] if (r := changed_cells(old.get('cells', []), new['cells'])) else []
    for name in dict.fromkeys((*new, *old)):
        if name == 'cells' or old.get(name) == new.get(name):
            continue
        if name in ('python', *PACKAGES, *SETTINGS):
            reasons.append(f'{name} {old.get(name, "unset")} → {new.get(name, "unset")}')
        else:
            reasons.append(f'{name} changed{via(name)}')
    return '; '.join(reasons[:4]) + (f' and {len(reasons) - 4} more' if len(reasons) > 4 else '')


def changed_cells(old: list, new: list) -> str:
    "Which code cells are new or changed. Prose between them, and so their number, matters not."
    before, after = [h for _, h in old], [h for _, h in new]
    if before == after:
        return ''
    numbers = [str(n) for n, h in new if h not in before]
    if not numbers:
        return 'cells were moved or removed'
    if len(numbers) > 8:
        return f'{len(numbers)} cells changed'
    return f'cell{"s" * (len(numbers) > 1)} {", ".join(numbers)} changed'


class History:
    "The record of earlier runs of one course."

    def __init__(self, root):
        self.path = Path(root) / '.course' / 'runs.json'
        self.runs = self.read()
        self.new = {}

    def read(self) -> dict:
        "A file that is missing or damaged costs nothing but a rerun."
        try:
            runs = json.loads(self.path.read_text(encoding='utf-8'))
            return {key: run for key, run in runs.items() if isinstance(run, dict)}
        except (OSError, ValueError, AttributeError):
            return {}

    def seconds(self, key: str) -> float | None:
        "How long the notebook took when it last ran to its end."
        return self.runs.get(key, {}).get('seconds')

    def failed(self, key: str) -> bool:
        return self.runs.get(key, {}).get('outcome', PASSED) not in (PASSED, SKIPPED)

    def reason(self, key: str, parts: dict, via=lambda name: '') -> str:
        "Why `--changed` must run a notebook; empty when it passed and is made of the same."
        run = self.runs.get(key)
        if run is None:
            return 'never run before'
        outcome = run.get('outcome')
        if outcome == PASSED or (outcome == BLOCKED and run.get('parts') == parts):
            return difference(run.get('parts', {}), parts, via)
        return f'{outcome} last time'

    def add(self, result, parts: dict):
        """Put a result on record. A blocked notebook keeps the duration of its last real run and, if
        it had passed, what it was made of then: when that is so again, it need not be run again."""
        if result.outcome == SKIPPED:
            return
        entry = {'outcome': result.outcome, 'parts': parts, 'claims': result.claims}
        if result.outcome == BLOCKED:
            before = self.runs.get(result.notebook, {})
            passed = before.get('outcome') in (PASSED, BLOCKED)
            entry |= {k: before[k] for k in ('seconds', 'peak_mb') if k in before}
            entry |= {k: before[k] for k in ('parts', 'claims') if passed and k in before}
        else:
            entry |= {'seconds': round(result.seconds, 2), 'peak_mb': round(result.peak_mb)}
        self.new[result.notebook] = entry

    def save(self):
        "Write what this run added; runs going on beside it keep what they wrote."
        if self.new:
            self.runs = {**self.read(), **self.new}
            try:
                write_atomic(self.path, json.dumps(self.runs, sort_keys=True, indent=0) + '\n')
            except OSError:
                pass  # a read-only course can be run all the same
