"""--scheduler, on a real dask cluster: a scheduler and two workers, processes on the loopback."""
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from run_support import Course, outputs

import run_notebook as front
from coursekit import cluster
from coursekit.notebook import CourseError
from coursekit.plan import Options, Plan

pytest.importorskip('distributed')
MODULE = 'def double(x):\n    "Twice x."\n    return 2 * x\n'
CLAIM = """from IPython.display import display
fields = {'name': 'seven', 'value': 7.0, 'at_least': 1.0}
fields |= dict.fromkeys(['at_most', 'sd', 'n', 'unit', 'data'])
display({'application/vnd.course.claim+json': fields, 'text/plain': 'seven: 7'}, raw=True)"""


class Cluster:
    "A scheduler and its workers, in a folder that is nobody's course."

    def __init__(self, folder: Path):
        self.folder, self.file, self.workers = folder, folder / 'scheduler.json', []
        self.scheduler = self.start('scheduler', '--port', '0', '--no-show')
        wait_until(lambda: self.file.exists() and self.file.read_text().strip().endswith('}'), 40)
        self.address = json.loads(self.file.read_text())['address'].removeprefix('tcp://')

    def start(self, what, *options):
        command = [sys.executable, '-m', f'distributed.cli.dask_{what}', '--host', '127.0.0.1',
                   '--no-dashboard', '--scheduler-file', str(self.file), *options]
        return subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)

    def with_workers(self, n: int) -> 'Cluster':
        "Start what is missing to n living workers."
        self.workers = [w for w in self.workers if w.poll() is None]
        while len(self.workers) < n:
            self.workers.append(self.start('worker', '--nthreads', '1', '--no-nanny',
                                           '--local-directory', str(self.folder)))
        return self

    def stop(self):
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


def wait_until(happened, seconds: float):
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, 'waited in vain'
        time.sleep(.05)


@pytest.fixture(scope='module')
def running(tmp_path_factory):
    found = Cluster(tmp_path_factory.mktemp('dask')).with_workers(2)
    yield found
    found.stop()


def mini_course(root) -> Course:
    "A chain 01 → 02 → 03 that passes, 04 that fails, 05 that builds on it, 06 alone."
    course = Course(root)
    for n in ('01', '04'):
        course.write(f'exp/nb_{n}.py', MODULE)
    course.write('exp/nb_02.py', 'from exp.nb_01 import double\n\n'
                 'def four(x):\n    return double(double(x))\n')
    course.write('data/datasets.toml', 'word = "here"\n')
    course.write('nbs/helper.py', 'answer = 42\n')
    course.add('01_base', "print('one')", CLAIM)
    course.add('02_more', 'from exp.nb_01 import double', 'double(2)')
    course.add('03_last', 'from exp.nb_02 import four',
               "import os, sys, helper\nfour(1), helper.answer",
               "open('../data/datasets.toml').read()", 'os.path.basename(os.getcwd()), os.getcwd()',
               "_ = sys.stderr.write(os.path.abspath('x') + '\\n')")
    course.add('04_bad', "print('so far')", 'from exp.nb_01 import double\n'
               "print(__import__('os').getcwd())\ndouble(1) / 0")
    course.add('05_needs_bad', 'from exp.nb_04 import double')
    course.add('06_alone', 'raise ValueError("meant")',
               "import asyncio\nawait asyncio.sleep(0)\n'é', 1")
    raw = course.read('06_alone')
    raw['cells'][0]['metadata']['tags'] = ['raises-exception']
    course.write('nbs/06_alone.ipynb', json.dumps(raw))
    return course


def essence(outcome) -> list:
    "What two runs of one course must agree in."
    return [(r.notebook, r.outcome, r.cell, r.message, [{**c, 'seconds': None} for c in r.claims])
            for r in by_name(outcome)]


def by_name(outcome) -> list:
    return sorted(outcome.results, key=lambda r: r.notebook)


def test_equal_to_a_local_run(tmp_path, running):
    "Outcomes, claims, reports, stored outputs; and no word of where the workers had it."
    here, there = mini_course(tmp_path / 'here' / 'c'), mini_course(tmp_path / 'there' / 'c')
    local = here.run(inplace=True, html=str(tmp_path / 'h1'))
    address = running.with_workers(2).address
    spread = there.run(inplace=True, html=str(tmp_path / 'h2'), scheduler=address)
    assert essence(spread) == essence(local)
    assert [r.outcome for r in by_name(local)] == ['passed'] * 3 + ['failed', 'blocked', 'passed']
    assert spread.exit_status == local.exit_status == 1
    assert len([c for r in spread.results for c in r.claims]) == 1
    for name in ('01_base', '02_more', '03_last', '04_bad', '06_alone'):
        a, b = (c.root.joinpath('nbs', f'{name}.ipynb').read_bytes() for c in (here, there))
        assert a.replace(str(here.root).encode(), str(there.root).encode()) == b
    assert f"('nbs', '{there.root}/nbs')" in outputs(there.read('03_last'))
    told = [[line.replace(str(here.root), str(there.root))
             for line in s.stories['nbs/04_bad.ipynb'][:-1]]
            for s in (local, spread)]  # the last line is the command, cut off where the page ends
    assert told[0] == told[1]
    ran = [r for r in spread.results if r.outcome != 'blocked']
    assert all(r.seconds > 0 and r.cpu_seconds > 0 and r.peak_mb > 10 for r in ran)
    pages = [[p.name for p in (tmp_path / h).iterdir()] for h in ('h1', 'h2')]
    assert pages[0] == pages[1] and len(pages[0]) == 1


def ancestor(pid: int, candidates) -> subprocess.Popen:
    "The one of some processes that a process descends from."
    above = {p.pid for p in psutil.Process(pid).parents()}
    return next(c for c in candidates if c.pid in above)


def test_a_killed_worker(tmp_path, running):
    "Its notebook runs again elsewhere, what was finished does not, and nothing is left behind."
    course, log = Course(tmp_path / 'c'), tmp_path / 'log'
    note = ("import os, time\nwith open(%r, 'a') as f:\n"
            "    print('%s', os.getpid(), os.getcwd(), file=f)")
    names = ['01_a', '02_b', '03_c', '04_d']
    for name in names:
        course.add(name, note % (str(log), name))
    course.write('exp/nb_01.py', 'x = 1\n')
    course.add('05_slow', 'from exp.nb_01 import x', note % (str(log), '05_slow'),
               f"time.sleep(60 if open({str(log)!r}).read().count('05_slow') == 1 else 0)")
    running.with_workers(2)
    killed = []

    def lines():
        return [line.split() for line in log.read_text().splitlines()] if log.exists() else []

    def kill():
        wait_until(lambda: {*names, '05_slow'} <= {line[0] for line in lines()}, 60)
        pid, folder = next((int(p), f) for n, p, f in lines() if n == '05_slow')
        time.sleep(1)  # the results of the others arrive
        worker = ancestor(pid, running.workers)
        os.kill(worker.pid, signal.SIGKILL)
        killed.append((pid, Path(folder)))

    thread = threading.Thread(target=kill)
    thread.start()
    outcome = course.run(scheduler=running.address)
    thread.join()
    assert outcome.exit_status == 0
    assert [r.notebook for r in by_name(outcome)] == [f'nbs/{n}.ipynb' for n in (*names, '05_slow')]
    assert [r.outcome for r in outcome.results] == ['passed'] * 5
    ran = [line[0] for line in lines()]
    assert sorted(ran) == sorted([*names, '05_slow', '05_slow'])
    pid, folder = killed[0]
    wait_until(lambda: not psutil.pid_exists(pid) and not folder.exists(), 20)
    assert not any(Path(f).exists() for _, _, f in lines())


def test_limits_hold_on_the_worker(tmp_path, running):
    course = Course(tmp_path / 'c')
    course.add('01_long', 'import time\ntime.sleep(60)')
    course.add('02_gone', 'import os\nos._exit(3)')
    outcome = course.run(scheduler=running.with_workers(2).address, cell_timeout=1)
    assert [r.outcome for r in by_name(outcome)] == ['timeout', 'crashed']
    assert outcome['01_long.ipynb'].message == 'the cell took longer than 1 s (--cell-timeout)'
    assert outcome.exit_status == 1


def test_nobody_answers(tmp_path):
    course = Course(tmp_path)
    course.add('01_x', '1')
    with socket.socket() as s:  # bound, so that nobody else takes it, and not listening
        s.bind(('127.0.0.1', 0))
        address = f'127.0.0.1:{s.getsockname()[1]}'
        command = [sys.executable, front.__file__, str(tmp_path / 'nbs'), '--scheduler', address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    says = f'error: --scheduler: no dask scheduler answers at tcp://{address}'
    assert done.stderr.startswith(says)
    assert 'Traceback' not in done.stdout + done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize('given', ['here', 'localhost', 'localhost:0', 'localhost:99999', 'a b:1',
                                   'http://x:1'])
def test_addresses_refused(given):
    with pytest.raises(CourseError, match='HOST:PORT is needed'):
        cluster.address_of(given)


@pytest.mark.parametrize('given, seen', [('x:1', 'tcp://x:1'), ('tls://x:8786', 'tls://x:8786'),
                                         ('[::1]:8786', 'tcp://[::1]:8786')])
def test_addresses(given, seen):
    assert cluster.address_of(given) == seen


def test_not_installed(tmp_path, monkeypatch):
    course = Course(tmp_path)
    course.add('01_x', '1')
    monkeypatch.setitem(sys.modules, 'distributed', None)
    with pytest.raises(CourseError, match=r"not installed here: pip install -e '\.\[cluster\]'"):
        course.run(scheduler='127.0.0.1:8786')


def test_imported_only_when_used():
    code = 'import run_notebook, coursekit.command, sys; print("distributed" in sys.modules)'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                          cwd=Path(front.__file__).parent)
    assert done.stdout == 'False\n'


def test_worker_without_a_package(tmp_path, running, monkeypatch):
    "A tool error that names the worker and the package."
    course = Course(tmp_path)
    course.add('01_x', 'import no_such_package')
    course.add('02_y', 'import no_such_package_either')
    monkeypatch.setattr(cluster, 'third_party', lambda names: set(names) & {'no_such_package'})
    outcome = course.run(scheduler=running.with_workers(2).address)
    assert [r.outcome for r in by_name(outcome)] == ['error', 'failed']
    message = outcome['01_x.ipynb'].message
    assert message.startswith('worker tcp://127.0.0.1:')
    assert 'it lacks no_such_package, which the notebook needs' in message


def test_versions_compared(monkeypatch):
    ours = {'python': '3.12.1', 'torch': '2.15', 'numpy': '2.4'}
    monkeypatch.setattr(cluster, 'own_versions', lambda: ours)
    assert cluster.mismatch({'python': '3.11.2', 'torch': '2.15'}) == 'python 3.11.2 (here 3.12.1)'
    assert cluster.mismatch({'python': '3.12.1', 'torch': '2.15'}) == ''


def test_what_travels(tmp_path):
    "The course's small files; no big or hidden file, no place of this machine."
    course = mini_course(tmp_path / 'c')
    course.write('data/big.bin', 'x' * (cluster.BIG + 1))
    course.write('nbs/.secret', 'x')
    plan = Plan([course.root / 'nbs'], Options(scheduler='h:1'), course.root)
    files = cluster.Files(plan)
    names = set(files.contents(plan.job('nbs/03_last.ipynb')))
    assert {'course/nbs/03_last.ipynb', 'course/nbs/01_base.ipynb', 'course/nbs/helper.py',
            'course/exp/__init__.py', 'course/exp/nb_01.py', 'course/exp/nb_02.py',
            'course/data/datasets.toml', 'tools/coursekit/runner.py',
            'tools/notebook2script.py'} <= names
    assert not any('secret' in n or 'big' in n or n.startswith('/') for n in names)
    parcel = files.parcel(plan.job('nbs/03_last.ipynb'), {}, None)
    assert str(tmp_path).encode() not in parcel


def test_the_scheduler_disappears(tmp_path, running):
    "The last of these tests. What is finished counts; the rest says which scheduler was lost."
    lost, course = running.with_workers(1), Course(tmp_path / 'c')
    begun = tmp_path / 'begun'
    course.add('01_first', '1')
    course.add('02_second', f"open({str(begun)!r}, 'w').close()\nimport time\ntime.sleep(60)")
    command = [sys.executable, front.__file__, str(course.root / 'nbs'), '--jobs', '1',
               '--json', str(tmp_path / 'r.json'), '--scheduler', lost.address]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(begun.exists, 40)
        lost.scheduler.kill()
        out, err = process.communicate(timeout=40)
    finally:
        process.kill()
    first, second = json.loads((tmp_path / 'r.json').read_text())['notebooks']
    assert process.returncode == 1 and first['outcome'] == 'passed' and second['outcome'] == 'error'
    assert f'the connection to the dask scheduler at tcp://{lost.address} was lost' in out
    assert 'Traceback' not in out + err, err[-3000:]
