"""What travels between the runner's parts: a `Job` goes into an engine, a `Result` comes out.

Both are plain data, so that they can cross a process or a network as JSON.
"""
from __future__ import annotations

from dataclasses import asdict, dataclass, field

PASSED, FAILED, TIMEOUT, CRASHED, OOM, BLOCKED, SKIPPED, ERROR = OUTCOMES = (
    'passed', 'failed', 'timeout', 'crashed', 'oom', 'blocked', 'skipped', 'error')
WORDS = {'timeout': 'timed out', 'oom': 'out of memory', 'error': 'tool error'}


@dataclass
class Job:
    """One notebook to run, with all that an engine needs to know about it.

    `key` is its name in every report, `raw` its JSON, `skip` the reason for each cell (by number)
    that is not to be run. Limits are seconds and GB; None means none.
    """
    key: str
    path: str
    raw: dict = field(repr=False)
    cwd: str = '.'
    env: dict = field(default_factory=dict, repr=False)
    skip: dict = field(default_factory=dict)
    timeout: float | None = None
    timeout_from: str = '--timeout'
    cell_timeout: float | None = None
    mem_limit: float | None = None

    def as_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, d: dict) -> Job:
        "A job from data that may have been JSON, which knows only strings as keys."
        return cls(**{**d, 'skip': {int(k): v for k, v in d.get('skip', {}).items()}})


@dataclass
class Failure:
    "Where and how a cell failed: enough for a report of 25 lines."
    ename: str = ''
    evalue: str = ''
    traceback: list = field(default_factory=list, repr=False)
    frames: list = field(default_factory=list)
    last_output: str = ''
    last_cell: int | None = None


@dataclass
class Result:
    """What became of one notebook. `cell` counts from 1 over all cells, as Jupyter shows them.

    `raised`: what cells raised that were free to, by number; `exercises`: those of a student's copy;
    `parameters`: how many the largest model has that it held at its end.
    """
    notebook: str
    outcome: str = ERROR
    cell: int | None = None
    message: str = ''
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0
    parameters: int | None = None
    claims: list = field(default_factory=list)
    engine: str = ''
    skipped_cells: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)
    failure: Failure | None = None
    raw: dict | None = field(default=None, repr=False)
    raised: dict = field(default_factory=dict)
    exercises: list = field(default_factory=list)

    @property
    def ok(self) -> bool:
        "Did nothing go wrong? A skipped notebook is no failure."
        return self.outcome in (PASSED, SKIPPED)

    def public(self) -> dict:
        "The entry that `--json` writes."
        names = ('notebook', 'outcome', 'cell', 'message', 'seconds', 'cpu_seconds', 'peak_mb',
                 'claims')
        record = {name: getattr(self, name) for name in names}
        if self.exercises:
            record['exercises'] = self.exercises
        return {k: round(v, 3) if isinstance(v, float) else v for k, v in record.items()}

    def as_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, d: dict) -> Result:
        d = dict(d)
        if d.get('failure'):
            d['failure'] = Failure(**d['failure'])
        return cls(**d)
