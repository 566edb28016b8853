"""What a run is to do: which notebooks, which of their cells, in what order, within which limits, and why."""
from __future__ import annotations

import fnmatch
import glob
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from .cache import History, fingerprint, surroundings
from .graph import Graph, count_tests
from .notebook import CourseError, Notebook, course_notebooks, find_root, load, sort_key
from .records import Job

TOOLS = Path(__file__).resolve().parent.parent
KNOWN_TAGS = ('gpu', 'net', 'slow')
DEFAULT_TIMEOUT = 600  # seconds, for a notebook without a budget
BUDGET_FACTOR = 5      # a notebook may take so many times its budget before it is stopped
THREADS = ('OMP', 'MKL', 'OPENBLAS', 'NUMEXPR', 'NUMBA', 'VECLIB_MAXIMUM')


@dataclass
class Options:
    "What the command line asks for; see `python run_notebook.py --help`."
    jobs: int | None = None
    changed: bool = False
    only: tuple = ()
    skip: tuple = ()
    timeout: float | None = None
    cell_timeout: float | None = None
    run_timeout: float | None = None
    engine: str | None = None
    mem_limit: float | None = None
    lf: bool = False
    inplace: bool = False
    record: bool = False
    junit: str | None = None
    json: str | None = None
    html: str | None = None
    annotations: bool | None = None
    scheduler: str | None = None


@dataclass
class Item:
    """One notebook of a plan. `error`: it cannot be read; `skip`: it is not to be run; `why`: why
    `--changed` runs it."""
    key: str
    path: Path
    notebook: Notebook | None = None
    error: str = ''
    skip: str = ''
    why: str = ''
    skip_cells: dict = field(default_factory=dict)
    current: bool = False  # skipped because it passed and nothing has changed since

    @property
    def course(self) -> dict:
        "The notebook's metadata.course, or an empty dict."
        meta = self.notebook.raw.get('metadata', {}).get('course') if self.notebook else None
        return meta if isinstance(meta, dict) else {}

    @property
    def budget(self) -> float | None:
        budget = self.course.get('budget')
        return budget if isinstance(budget, (int, float)) and budget > 0 else None


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
    name = (meta.get('kernelspec') or {}).get('language') or (meta.get('language_info')
                                                              or {}).get('name')
    return name if isinstance(name, str) and name.lower() not in ('python', 'ipython') else ''


def find_notebooks(paths, root: Path) -> list[Path]:
    "The notebooks that paths, folders and globs name, each once; none named: the course."
    found = []
    for name in map(str, paths):
        path = Path(name)
        if path.is_dir():
            here = sorted(path.rglob('*.ipynb'), key=lambda p: (p.parent, sort_key(p)))
            here = [
                p for p in here
                if not any(part.startswith('.') for part in p.relative_to(path).parts)
            ]
            if not here:
                raise CourseError(f'{name}: there is no notebook in this folder')
        elif path.is_file():
            here = [path]
        else:
            here = sorted(map(Path, glob.glob(name, recursive=True)), key=sort_key)
            here = [p for p in here if p.suffix == '.ipynb']
            if not here:
                raise CourseError(
                    f'{name}: there is no such notebook, and as a pattern it matches none')
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


class Plan:
    "All notebooks of a run, in the order in which they may start."

    def __init__(self, paths, options: Options, root=None):
        self.options = options
        self.root = root_of(paths, root)
        self.is_course = (self.root / 'nbs').is_dir()
        self.history = History(self.root)
        self.items = {item.key: item for item in map(self.item, find_notebooks(paths, self.root))}
        self.choose()
        readable = {k: i.notebook for k, i in self.items.items() if i.notebook}
        self.graph = Graph(readable, self.root)
        self.around = surroundings(self.root)
        if options.changed:
            self.leave_out_unchanged()
        broken = [k for k in self.items if k not in readable]
        self.order = broken + self.graph.order(lambda key: self.history.seconds(key) or 10.0)
        self.counts = {
            k: (sum(c.kind == 'code' and bool(c.source.strip()) for c in nb.cells), count_tests(nb))
            for k, nb in readable.items()
        }
        self.todo = [k for k in self.order if not self.items[k].skip]
        cores = len(os.sched_getaffinity(0)) if hasattr(
            os, 'sched_getaffinity') else os.cpu_count() or 1
        self.jobs = max(1, min(options.jobs or cores, len(self.todo)))
        self.threads = max(1, cores // self.jobs)

    def item(self, path: Path) -> Item:
        inside = self.root in path.parents
        item = Item(os.path.relpath(path, self.root) if inside else str(path), path)
        try:
            item.notebook = load(path)
        except CourseError as e:
            item.error = str(e)
            return item
        if language := foreign(item.notebook):
            item.error = f'{path}: is a notebook for {language}; only Python can be run'
            return item
        needs = item.course.get('needs') or []
        reasons = [
            unwanted(str(n), self.options.skip)
            for n in ([needs] if isinstance(needs, str) else needs)
        ]
        item.skip = next(filter(None, reasons), '')
        for c in item.notebook.cells:
            why = next(
                filter(None, (unwanted(t, self.options.skip) for t in c.tags if t in KNOWN_TAGS)),
                '')
            if c.kind == 'code' and why:
                item.skip_cells[c.number] = why
        return item

    def choose(self):
        "Keep what --only and --lf ask for."
        if self.options.only:
            self.items = {
                k: i for k, i in self.items.items() if any(
                    fnmatch.fnmatch(name, pattern)
                    for pattern in self.options.only
                    for name in (k, i.path.name, i.path.stem, i.path.name.split('_')[0]))
            }
            if not self.items:
                raise CourseError(f'--only {",".join(self.options.only)}: matches no notebook')
        if self.options.lf:
            failed = {k: i for k, i in self.items.items() if self.history.failed(k)}
            self.items = failed or self.items
            self.note = '' if failed else 'no failure on record: running all'

    note = ''

    def leave_out_unchanged(self):
        for key, item in self.items.items():
            if item.skip or item.error:
                continue
            item.why = self.history.reason(key, self.fingerprint(key),
                                           lambda name: self.through(key, name))
            if not item.why:
                item.skip, item.current = 'passed, and nothing it is made from has changed', True

    def through(self, key: str, name: str) -> str:
        "` (through exp/nb_04.py)` for a module that a notebook does not import by itself."
        via = self.graph.reached[key][0].get(self.root / name, ())
        return f' (through {os.path.relpath(via[0], self.root)})' if via else ''

    def fingerprint(self, key: str) -> dict:
        item = self.items[key]
        return fingerprint(item.notebook, self.graph.reached[key][0], self.root, self.around,
                           item.skip_cells)

    def place(self, key: str) -> tuple:
        "Where a notebook stands in reading order."
        return str(self.items[key].path.parent), sort_key(self.items[key].path)

    def needs(self, key: str) -> list[str]:
        "The notebooks of this plan that must have passed before this one starts, nearest first."
        before = set(self.order[:self.order.index(key)])
        return sorted((k for k in self.graph.needs.get(key, ()) if k in before),
                      key=self.order.index)

    def env(self) -> dict[str, str]:
        "What is added to the environment of every notebook's process."
        paths = [str(self.root), str(TOOLS), *os.environ.get('PYTHONPATH', '').split(os.pathsep)]
        env = {'PYTHONPATH': os.pathsep.join(dict.fromkeys(filter(None, paths)))}
        return env | {f'{name}_NUM_THREADS': str(self.threads) for name in THREADS}

    def job(self, key: str) -> Job:
        "A notebook as an engine gets it."
        item, options = self.items[key], self.options
        timeout, source = options.timeout, '--timeout'
        if timeout is None and item.budget:
            timeout, source = BUDGET_FACTOR * item.budget, f'{BUDGET_FACTOR} times its budget of {item.budget:g} s'
        elif timeout is None:
            timeout, source = DEFAULT_TIMEOUT, 'the default; --timeout changes it'
        return Job(key, str(item.path), item.notebook.raw, str(item.path.parent), self.env(),
                   dict(item.skip_cells), timeout or None, source, options.cell_timeout or None,
                   options.mem_limit or None)

    def engine(self) -> tuple[str, str]:
        "-> the engine to use, and why it is not the one asked for"
        from .engine_fork import available
        asked = self.options.engine
        if asked == 'kernel':
            return 'kernel', ''
        reason = available()
        return ('kernel', reason if asked else '') if reason else ('fork', '')


def preloads(libraries, folders=()) -> list[str]:
    """The modules that the warm parent imports, chosen from those the notebooks import.

    Only libraries known to be the same whether they are imported before or after there is a
    notebook: pyplot, tqdm.auto or fastai look at import time whether they are in one.
    """
    tops = {name.split('.')[0] for name in libraries}
    if 'fastai' in tops:
        tops |= {'torch', 'torchvision', 'pandas', 'numpy', 'PIL', 'matplotlib', 'scipy'}
    chosen = [
        top for top in ('numpy', 'scipy', 'PIL', 'pandas', 'sympy', 'networkx', 'numba', 'sklearn',
                        'skimage', 'torch', 'torchvision', 'torchaudio') if top in tops
    ]
    if any((Path(f) / 'matplotlibrc').exists() for f in folders):
        tops.discard(
            'matplotlib')  # read when matplotlib is imported, from the notebook's own folder
    if 'matplotlib' in tops:
        chosen += [
            'matplotlib', 'matplotlib.figure', 'matplotlib.backends.backend_agg', 'matplotlib.image'
        ]
    chosen += sorted(n for n in libraries
                     if n.split('.')[0] in chosen and '.' in n and not n.startswith('matplotlib'))
    return [*chosen, 'numpy.random'] if 'numpy' in chosen or len(chosen) > 1 else chosen
