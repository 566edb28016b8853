"""`--scheduler HOST:PORT`: a pool whose notebooks run on the workers of a dask.distributed cluster.

Contents travel, not paths: each task carries a parcel with the notebook, the course's modules and
small files, and the runner itself (`cluster_worker` unpacks it). Dask runs a task again when its
worker dies. A result is kept here as soon as it arrives, and its task forgotten, so what is
finished is never run twice.
"""
from __future__ import annotations

import asyncio
import importlib.util
import io
import itertools
import json
import logging
import os
import re
import secrets
import subprocess
import sys
import time
import traceback
import warnings
import zipfile
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .cache import BIG, PACKAGES, versions
from .notebook import CourseError, course_notebooks
from .outputs import dumps
from .plan import THREADS, TOOLS, Plan, preloads
from .processes import cores
from .records import ERROR, TIMEOUT, Job, Result

CONNECT = 30           # seconds until a scheduler must have answered
NO_WORKER = 60         # seconds that a run waits for a first, or for another, worker
LOOK = 2               # seconds between two looks at the cluster
GRACE = 30             # seconds after the run's deadline for a worker to tell how far it came
LARGEST = 200_000_000  # bytes of files that may travel with one notebook
ADDRESS = re.compile(r'((?:tcp|tls|ws|wss)://)?(\[[\da-fA-F:]+\]|[^\s:/\[\]]+):(\d{1,5})')
TRAVELS = ('COURSE_OFFLINE',)  # settings that mean the same on every machine
EVALUATED = ("(exec(source, space := {'__name__': 'coursekit_task'}), "
             "space['task'](source, parcel, topic, key))[1]")  # text, as a worker has no coursekit


def address_of(text: str) -> str:
    "The scheduler's address as dask writes it. Raises CourseError for what cannot be one."
    m = ADDRESS.fullmatch(text)
    if not m or not 0 < int(m[3]) < 65536:
        raise CourseError(f'--scheduler {text}: HOST:PORT is needed, as in 192.168.1.5:8786')
    return text if m[1] else f'tcp://{text}'


def distributed():
    "The package, which nothing else in the runner imports."
    try:
        import distributed
        return distributed
    except ImportError as e:
        raise CourseError('--scheduler needs dask.distributed, which is not installed here: '
                          f"pip install -e '.[cluster]' ({e})") from None


def own_versions() -> dict[str, str]:
    "What decides whether two machines are to be trusted with the same notebook."
    found = {k: v for k, v in versions().items() if k in ('python', *PACKAGES)}
    try:
        found['distributed'] = version('distributed')
    except PackageNotFoundError:
        pass
    return found


def environment(order: dict, root: str, tools: str, address: str, nthreads: int) -> dict[str, str]:
    """What is added to a notebook's environment on a worker.

    The threads of all workers on one machine share its cores.
    """
    host = host_of(address)
    threads = max(1, cores() // max(1, order['slots'].get(host, nthreads)))
    paths = [root, tools, *os.environ.get('PYTHONPATH', '').split(os.pathsep)]
    env = {'PYTHONPATH': os.pathsep.join(dict.fromkeys(filter(None, paths))), **order['settings']}
    return env | {f'{name}_NUM_THREADS': str(threads) for name in THREADS}


def host_of(address: str) -> str:
    return address.rpartition('://')[2].rpartition(':')[0]


class ClusterPool:
    "Runs a plan's notebooks on a cluster; to a `Run` it looks like any other pool."

    def __init__(self, plan: Plan):
        self.plan, self.address = plan, address_of(plan.options.scheduler)
        self.files = Files(plan)
        self.topic, self.numbers = f'coursekit-{secrets.token_hex(4)}', itertools.count(1)
        self.reports, self.slots, self.warned = {}, {}, set()
        self.client, self.over, self.failed = None, False, False

    async def __aenter__(self):
        package = distributed()
        names = [n for n in logging.root.manager.loggerDict if n.split('.')[0] == 'distributed']
        self.levels = {n: logging.getLogger(n).level for n in names}
        for name in names:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # we say what goes wrong
        asyncio.get_running_loop().set_exception_handler(self.uncaught)
        try:
            await self.connect(package)
        except BaseException:
            await self.close()
            raise
        self.trouble = asyncio.get_running_loop().create_future()
        self.watcher = asyncio.ensure_future(self.watch())
        self.client.subscribe_topic(self.topic, self.heard)
        return self

    async def connect(self, package):
        "Reach the scheduler and at least one worker. Raises CourseError when that cannot be."
        try:
            await self.knock()
            with warnings.catch_warnings(action='ignore'):  # each worker's versions are compared
                self.client = await package.Client(self.address, asynchronous=True, timeout=CONNECT,
                                                   set_as_default=False)
            await self.look()
        except Exception as e:
            raise CourseError(f'--scheduler: no dask scheduler answers at {self.address} '
                              f'({plain(e)}); is it running, and reachable from here?') from None
        until = time.monotonic() + NO_WORKER
        while not self.slots:
            if time.monotonic() > until:
                raise CourseError(f'--scheduler: the scheduler at {self.address} has had no worker '
                                  f'for {NO_WORKER} s; start one: dask worker {self.address}')
            await asyncio.sleep(.5)
            await self.look()

    async def knock(self):
        "Is anything listening there? Dask would try again and again."
        _, host, port = ADDRESS.fullmatch(self.address).groups()
        opening = asyncio.open_connection(host.strip('[]'), int(port))
        _, writer = await asyncio.wait_for(opening, CONNECT)
        writer.close()

    async def __aexit__(self, *exc):
        self.watcher.cancel()
        self.trouble.cancel()
        await self.close()

    def uncaught(self, loop, context):
        "Dask's own tasks may end with errors nobody asks for when the other side is gone."
        if not self.over and f'{os.sep}distributed{os.sep}' not in files_of(context):
            loop.default_exception_handler(context)

    async def close(self):
        "Leave the cluster, which cancels what still runs for us."
        self.over = True
        try:
            if self.client is not None:
                await asyncio.wait_for(self.client.close(), CONNECT)
        except Exception:
            pass  # the other end is gone: nothing is left to be closed
        if not self.failed:  # else dask's tasks are still to be cancelled, which it would log
            for name, level in self.levels.items():
                logging.getLogger(name).setLevel(level)

    async def look(self):
        "How many notebooks can run at once, by host."
        slots = {}
        for address, n in (await self.client.nthreads()).items():
            slots[host_of(address)] = slots.get(host_of(address), 0) + n
        self.slots = slots
        free = max(1, min(sum(slots.values()), len(self.plan.todo)))
        self.plan.jobs = self.plan.options.jobs or free

    async def watch(self):
        "Look again and again: workers come and go, and the scheduler may go too."
        seen = time.monotonic()
        while True:
            await asyncio.sleep(LOOK)
            try:
                await asyncio.wait_for(self.look(), NO_WORKER)
            except Exception:
                return self.give_up(self.lost())
            seen = time.monotonic() if self.slots else seen
            if time.monotonic() - seen > NO_WORKER:
                return self.give_up(f'the scheduler at {self.address} has had no worker '
                                    f'for {NO_WORKER} s')

    def give_up(self, why: str):
        self.over = self.failed = True
        if not self.trouble.done():
            self.trouble.set_result(why)

    def lost(self) -> str:
        return f'the connection to the dask scheduler at {self.address} was lost'

    def heard(self, event):
        "A worker tells which cell it is at."
        message = event[1]
        if message.get('key') in self.reports:
            self.reports[message['key']]('cell', message['key'], message['cell'])

    async def run(self, job: Job, report=lambda *event: None,
                  deadline: float | None = None) -> Result:
        "Run one notebook on some worker. A trouble of the cluster is a result like any other."
        if self.trouble.done():
            return Result(job.key, ERROR, message=f'not started: {self.trouble.result()}')
        try:
            parcel = self.files.parcel(job, self.slots, deadline)
        except (OSError, CourseError) as e:
            return Result(job.key, ERROR, message=str(e))
        self.reports[job.key] = report
        given = {'source': self.files.worker_source, 'parcel': parcel, 'topic': self.topic,
                 'key': job.key}
        with warnings.catch_warnings(action='ignore'):  # of a large graph: a parcel may be some MB
            future = self.client.submit(eval, EVALUATED, given, pure=False,
                                        key=f'{self.topic}-{next(self.numbers)}')
        waiting = asyncio.ensure_future(arrival(future))
        try:
            limit = max(0, deadline - time.monotonic()) + GRACE if deadline else None
            await asyncio.wait({waiting, self.trouble}, timeout=limit,
                               return_when=asyncio.FIRST_COMPLETED)
            return self.result(job, waiting)
        finally:
            del self.reports[job.key]
            waiting.cancel()
            future.release()

    def result(self, job: Job, waiting: asyncio.Future) -> Result:
        if not waiting.done():
            if self.trouble.done():
                return Result(job.key, ERROR, message=self.trouble.result())
            return Result(job.key, TIMEOUT,
                          message='the time for the whole run was up (--run-timeout)')
        found = waiting.result()
        if found is None:
            self.give_up(self.lost())
            return Result(job.key, ERROR, message=self.trouble.result())
        if 'result' not in found:
            where = f'worker {found["worker"]}: ' if 'worker' in found else ''
            return Result(job.key, ERROR, message=where + found['error'])
        here = {os.path.join(found['folder'], 'course'): str(self.plan.root),
                os.path.join(found['folder'], 'tools'): str(TOOLS)}
        result = Result.from_dict(translated(found['result'], here))
        if (different := mismatch(found['versions'])) and found['worker'] not in self.warned:
            self.warned.add(found['worker'])
            result.notes.append(f'worker {found["worker"]} has {different}: results may differ')
        return result


async def arrival(future) -> dict | None:
    "A task's value. None: the scheduler is gone."
    from concurrent.futures import CancelledError
    from distributed import KilledWorker
    try:
        return await future.result()
    except CancelledError:
        return None
    except KilledWorker as e:
        return {'error': f'{e.allowed_failures + 1} workers died while they ran it; '
                         f'the last was {getattr(e.last_worker, "address", e.last_worker)}'}
    except Exception as e:
        return {'error': f'dask could not run it: {plain(e)}'}


def files_of(context: dict) -> str:
    "The files named in what asyncio tells of an error: its traceback, its task."
    error = context.get('exception')
    lines = traceback.extract_tb(error.__traceback__) if error else ()
    task = context.get('task') or context.get('future')
    return '\n'.join([repr(task), *(frame.filename for frame in lines)])


def plain(e: BaseException) -> str:
    "An error of dask in one line."
    text = str(e).strip().split('\n')[0]
    return f'{type(e).__name__}: {text}' if text else type(e).__name__


def mismatch(theirs: dict) -> str:
    "In which versions a worker differs from this machine, for what both have."
    ours = own_versions()
    return ', '.join(f'{name} {theirs[name]} (here {ours[name]})' for name in ours
                     if name in theirs and theirs[name] != ours[name])


def translated(value, folders: dict[str, str]):
    "A worker's private folders, wherever they occur in a result, replaced by those they stand for."
    if isinstance(value, str):
        for there, here in folders.items():
            value = value.replace(there, here)
        return value
    if isinstance(value, dict):
        return {k: translated(v, folders) for k, v in value.items()}
    return [translated(v, folders) for v in value] if isinstance(value, list) else value


def hidden(path: Path) -> bool:
    return any(part.startswith(('.', '__pycache__')) for part in path.parts)


class Files:
    "What of a course goes into the parcels of its notebooks."

    def __init__(self, plan: Plan):
        self.plan, self.root = plan, plan.root
        self.tools = 'course' if TOOLS == self.root else 'tools'

    @cached_property
    def worker_source(self) -> str:
        return Path(__file__).with_name('cluster_worker.py').read_text(encoding='utf-8')

    @cached_property
    def runner(self) -> dict[str, bytes]:
        "The two scripts and their package."
        paths = [*sorted((TOOLS / 'coursekit').glob('*.py')), TOOLS / 'notebook2script.py',
                 TOOLS / 'run_notebook.py']
        return {f'{self.tools}/{p.relative_to(TOOLS).as_posix()}': p.read_bytes()
                for p in paths if p.is_file()}

    @cached_property
    def notebooks(self) -> dict[str, bytes]:
        "All notebooks of the course, without outputs: an export checks one against the others."
        found = {}
        for path in course_notebooks(self.root):
            try:
                raw = json.loads(path.read_bytes())
                for cell in raw['cells']:
                    cell.update({'outputs': []} if 'outputs' in cell else {})
                found[self.name(path)] = dumps(raw).encode()
            except (ValueError, KeyError, TypeError, AttributeError):
                found[self.name(path)] = path.read_bytes()  # damaged: who needs it will say so
        return found

    def name(self, path: Path, beside: Path | None = None) -> str:
        "A file's place in the parcel: as in the course; what lies outside has a place of its own."
        if self.root in path.parents:
            return f'course/{path.relative_to(self.root).as_posix()}'
        inside = path.relative_to(beside) if beside in path.parents else Path(path.name)
        return f'course/elsewhere/{inside.as_posix()}'

    def small(self) -> list[Path]:
        "The course's own files in nbs/ and data/: what git would track, no download."
        places = [p for p in ('nbs', 'data') if (self.root / p).is_dir()]
        if not places:
            return []
        ask = ['git', '-C', str(self.root), 'ls-files', '-zco', '--exclude-standard', '--', *places]
        try:
            done = subprocess.run(ask, capture_output=True, check=True, timeout=20)
            listed = done.stdout.decode().split('\0')
            found = [self.root / name for name in listed if name]
        except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
            found = [p for place in places for p in (self.root / place).rglob('*')]
        return [p for p in found if p.suffix != '.ipynb' and p.is_file()
                and p.stat().st_size <= BIG and not hidden(p.relative_to(self.root))]

    def contents(self, job: Job) -> dict[str, bytes]:
        "name -> bytes of everything that a notebook may need"
        path, item = Path(job.path), self.plan.items[job.key]
        modules = set(self.plan.graph.reached[job.key][0]) | set((self.root / 'exp').rglob('*.py'))
        modules |= set(self.root.glob('*.py') if self.plan.is_course else ())
        for module in list(modules):
            modules |= {p / '__init__.py' for p in module.parents
                        if self.root in p.parents and (p / '__init__.py').is_file()}
        found = dict(self.runner) | (self.notebooks if self.plan.is_course else {})
        for file in sorted({*modules, *self.small()}):
            found[self.name(file, path.parent)] = file.read_bytes()
        found[self.name(path, path.parent)] = json.dumps(item.notebook.raw).encode()
        if (size := sum(map(len, found.values()))) > LARGEST:
            raise CourseError(f'{size / 1e6:,.0f} MB of files would have to travel with it; the '
                              f'limit is {LARGEST / 1e6:,.0f} MB. Let git ignore what is no '
                              'part of the course in nbs/ and data/')
        return found

    def parcel(self, job: Job, slots: dict, deadline: float | None) -> bytes:
        "A notebook with all that it needs, as one zip file."
        options, libraries = self.plan.options, self.plan.graph.reached[job.key][1]
        keep = [options.inplace and 'passed', options.html and 'failed']
        name = self.name(Path(job.path), Path(job.path).parent)
        limits = ('timeout', 'timeout_from', 'cell_timeout', 'mem_limit')
        order = {'key': job.key, 'path': name.removeprefix('course/'), 'tools': self.tools,
                 'engine': options.engine, 'modules': preloads(libraries, [Path(job.path).parent]),
                 'packages': sorted(third_party(libraries)), 'slots': slots, 'skip': job.skip,
                 'keep': 'all' if all(keep) else next(filter(None, keep), ''),
                 'settings': {k: os.environ[k] for k in TRAVELS if k in os.environ},
                 'seconds_left': max(0, deadline - time.monotonic()) if deadline else None,
                 'limits': {k: getattr(job, k) for k in limits}}
        data = io.BytesIO()
        with zipfile.ZipFile(data, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as parcel:
            parcel.writestr('order.json', json.dumps(order))
            for name, content in self.contents(job).items():
                parcel.writestr(name, content)
        return data.getvalue()


def third_party(libraries) -> set[str]:
    "The packages of `libraries` that are installed here; a worker without them is to say so."
    tops = {name.split('.')[0] for name in libraries} - set(sys.stdlib_module_names)
    found = set()
    for top in tops:
        try:
            if importlib.util.find_spec(top) is not None:
                found.add(top)
        except (ImportError, ValueError):
            pass
    return found
