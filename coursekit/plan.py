"""What a run is to do: which notebooks and cells, in what order, within which limits, and why."""
from __future__ import annotations

import fnmatch
import os
from dataclasses import dataclass, field
from pathlib import Path

from .cache import History, fingerprint, surroundings
from .discovery import find_notebooks, foreign, root_of, skipped_cells, unwanted
from .exercises import prepared
from .graph import Graph, count_tests
from .notebook import CourseError, Notebook, load, sort_key
from .processes import cores
from .records import Job

TOOLS = Path(__file__).resolve().parent.parent
DEFAULT_TIMEOUT = 600  # seconds, for a notebook without a budget
BUDGET_FACTOR = 5      # a notebook may take so many times its budget before it is stopped
THREADS = ('OMP', 'MKL', 'OPENBLAS', 'NUMEXPR', 'NUMBA', 'VECLIB_MAXIMUM')


SAFE = ('numpy', 'scipy', 'PIL', 'pandas', 'sympy', 'networkx', 'numba', 'sklearn', 'skimage',
        'torch', 'torchvision', 'torchaudio')
MATPLOTLIB = ['matplotlib', 'matplotlib.figure', 'matplotlib.backends.backend_agg',
              'matplotlib.image']


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
    exercises: bool = False


@dataclass
class Item:
    """One notebook of a plan.

    `notebook`: what is run; `saved`: what the file holds; `error`: why it cannot be run at all;
    `skip`: why it is not to be run; `why`: why `--changed` runs it; `current`: skipped only because it passed and nothing has changed since.
    """
    key: str
    path: Path
    notebook: Notebook | None = None
    saved: Notebook | None = None
    error: str = ''
    skip: str = ''
    why: str = ''
    skip_cells: dict = field(default_factory=dict)
    current: bool = False

    @property
    def course(self) -> dict:
        "The notebook's metadata.course, or an empty dict."
        meta = self.notebook.raw.get('metadata', {}).get('course') if self.notebook else None
        return meta if isinstance(meta, dict) else {}

    @property
    def budget(self) -> float | None:
        budget = self.course.get('budget')
        return budget if isinstance(budget, (int, float)) and budget > 0 else None


def count_cells(notebook: Notebook) -> int:
    return sum(c.kind == 'code' and bool(c.source.strip()) for c in notebook.cells)


class Plan:
    "All notebooks of a run, in the order in which they may start."
    note = ''

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
        self.counts = {k: (count_cells(nb), count_tests(nb)) for k, nb in readable.items()}
        self.todo = [k for k in self.order if not (self.items[k].skip or self.items[k].error)]
        jobs = options.jobs or cores()
        self.jobs = max(1, min(jobs, len(self.todo)))
        self.threads = max(1, cores() // jobs)  # numbers must not depend on how many are run

    def item(self, path: Path) -> Item:
        inside = self.root in path.parents
        item = Item(os.path.relpath(path, self.root) if inside else str(path), path)
        try:
            item.saved = load(path)
            item.notebook = prepared(item.saved) if self.options.exercises else item.saved
        except CourseError as e:
            item.error = str(e)
            return item
        if language := foreign(item.notebook):
            item.error = f'{path}: is a notebook for {language}; only Python can be run'
            return item
        needs = item.course.get('needs') or []
        needs = [needs] if isinstance(needs, str) else needs
        reasons = (unwanted(str(name), self.options.skip) for name in needs)
        item.skip = next(filter(None, reasons), '')
        item.skip_cells = skipped_cells(item.notebook, self.options.skip)
        return item

    def choose(self):
        "Keep what --only and --lf ask for."
        if self.options.only:
            self.items = {k: i for k, i in self.items.items() if self.wanted(i)}
            if not self.items:
                raise CourseError(f'--only {",".join(self.options.only)}: matches no notebook')
        if self.options.lf:
            failed = {k: i for k, i in self.items.items() if self.history.failed(k)}
            self.items = failed or self.items
            self.note = '' if failed else 'no failure on record: running all'

    def wanted(self, item: Item) -> bool:
        "Does one of --only's patterns match the notebook's path, name, stem or number?"
        name = item.path.name
        names = item.key, name, item.path.stem, name.split('_')[0]
        return any(fnmatch.fnmatch(n, pattern) for n in names for pattern in self.options.only)

    def leave_out_unchanged(self):
        for key, item in self.items.items():
            if not (item.skip or item.error):
                self.leave_out_if_unchanged(key)

    def leave_out_if_unchanged(self, key: str):
        "For --changed: skip a notebook that passed and is made of the same, or say why it runs."
        item = self.items[key]
        parts = self.fingerprint(key)
        item.why = self.history.reason(key, parts, lambda name: self.through(key, name))
        item.current = not item.why
        item.skip = '' if item.why else 'passed, and nothing it is made from has changed'

    def undecided(self, key: str) -> bool:
        "Is it skipped as unchanged, while a notebook whose module it imports is yet to run?"
        return self.items[key].current and any(k in self.todo for k in self.needs(key))

    def through(self, key: str, name: str) -> str:
        "` (through exp/nb_04.py)` for a module that a notebook does not import by itself."
        via = self.graph.reached[key][0].get(self.root / name, ())
        return f' (through {os.path.relpath(via[0], self.root)})' if via else ''

    def fingerprint(self, key: str) -> dict:
        item = self.items[key]
        return fingerprint(item.saved, self.graph.reached[key][0], self.root, self.around,
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
            timeout = BUDGET_FACTOR * item.budget
            source = f'{BUDGET_FACTOR} times its budget of {item.budget:g} s'
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

    Only libraries known to be the same whether or not there is a notebook when they are imported:
    pyplot, tqdm.auto and fastai look whether they are in one. The first optimiser of torch that a
    process makes imports torch._dynamo, which takes two seconds.
    """
    tops = {name.split('.')[0] for name in libraries}
    if 'fastai' in tops:
        tops |= {'torch', 'torchvision', 'pandas', 'numpy', 'PIL', 'matplotlib', 'scipy'}
    chosen = [top for top in SAFE if top in tops]
    if any((Path(f) / 'matplotlibrc').exists() for f in folders):
        tops.discard('matplotlib')  # it reads that file from where it is imported
    if 'matplotlib' in tops:
        chosen += MATPLOTLIB
    chosen += ['torch._dynamo'] if 'torch.optim' in libraries else []
    chosen += sorted(n for n in libraries if '.' in n and n.split('.')[0] in SAFE)
    return [*chosen, 'numpy.random'] if 'numpy' in chosen or len(chosen) > 1 else chosen
