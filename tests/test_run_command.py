"""The command as users type it: options, errors, exit statuses, Ctrl-C."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_support import Course, FakePool, left_behind

import run_notebook as front
from coursekit import runner
from coursekit.notebook import CourseError

SCRIPT = Path(front.__file__)


def command(*args, **kwargs):
    return subprocess.run([sys.executable, SCRIPT, *map(str, args)], capture_output=True, text=True,
                          timeout=120, **kwargs)


@pytest.mark.parametrize('given, seen',
                         [(['--inplace', 'a.ipynb'], ['--inplace=True', 'a.ipynb']),
                          (['--cell-timeout', '3'], ['--cell_timeout', '3']),
                          (['--mem_limit=2'], ['--mem_limit=2']),
                          (['a', '--lf', '--changed'], ['a', '--lf=True', '--changed=True'])])
def test_arguments(given, seen):
    assert front.arguments(given) == seen


@pytest.mark.parametrize('given, seen', [
    ('gpu, net', ('gpu', 'net')), (('gpu', 'net'), ('gpu', 'net')), (10, ('10',)), ((), ()),
    (None, ()), ('', ())])
def test_words(given, seen):
    assert front.words(given) == seen


@pytest.mark.parametrize(
    'argv, message', [(['--tiemout', '3'], 'there is no option --tiemout; did you mean --timeout?'),
                      (['--xyz'], 'there is no option --xyz')])
def test_unknown_option(argv, message):
    with pytest.raises(CourseError, match=message):
        front.arguments(argv)


@pytest.mark.parametrize('options, message',
                         [({'jobs': 0}, '--jobs 0: a whole number'),
                          ({'jobs': 'two'}, '--jobs two'), ({'timeout': -1}, '--timeout -1'),
                          ({'timeout': 'x'}, '--timeout x'),
                          ({'mem_limit': float('nan')}, '--mem-limit nan'),
                          ({'engine': 'spoon'}, 'fork and kernel'),
                          ({'skip': 'gpu,gup'}, '--skip gup: there are gpu, net, slow'),
                          ({'json': True}, 'need the name of a file')])
def test_bad_values(options, message):
    with pytest.raises(CourseError, match=message):
        front.run_notebook(**options)


def test_options_reach_the_plan(tmp_path, monkeypatch):
    "As fire hands them over: numbers as numbers, lists as tuples."
    course, seen = Course(tmp_path), []
    course.add('01_x', '1')
    monkeypatch.setattr(runner, 'pool_for', lambda plan: seen.append(plan) or FakePool())
    monkeypatch.setattr('sys.argv', [
        'run_notebook', '--inplace',
        str(tmp_path / 'nbs'), '--skip', 'gpu,net', '--jobs', '3', '--cell-timeout=2.5',
        '--mem-limit', '1', '--engine', 'kernel', '--only', '01', '--lf'
    ])
    monkeypatch.setattr('coursekit.processes.adopt_orphans', lambda: None)
    monkeypatch.setattr('coursekit.processes.end_descendants', lambda: None)
    with pytest.raises(SystemExit) as e:
        front.main()
    options = seen[0].options
    assert e.value.code == 0
    assert (options.inplace, options.skip, options.jobs, options.cell_timeout, options.mem_limit,
            options.engine, options.only, options.lf) == (True, ('gpu', 'net'), 3, 2.5, 1.0,
                                                          'kernel', ('01',), True)


def test_help_names_every_option():
    import inspect
    options = [
        p for p in inspect.signature(front.run_notebook).parameters if p not in ('paths', 'show')
    ]
    assert all(f'--{name.replace("_", "-")}' in front.__doc__ for name in options)


def test_help():
    done = command('--help')
    assert done.returncode == 0 and done.stdout.startswith(
        'Run a course') and '--mem-limit GB' in done.stdout


@pytest.mark.parametrize(
    'args, message',
    [(['nbs/09_none.ipynb'], 'error: nbs/09_none.ipynb: there is no such notebook'),
     (['--inplcae'], 'did you mean --inplace?'),
     (['--root', 'nowhere'], 'there is no such folder')])
def test_errors(tmp_path, args, message):
    Course(tmp_path).add('01_x', '1')
    done = command(*args, cwd=tmp_path)
    assert done.returncode == 1 and message in done.stderr and 'Traceback' not in done.stderr


def test_from_the_notebooks_folder_with_a_path_before_and_after_flags(tmp_path):
    course = Course(tmp_path)
    course.add('01_x', 'print("hello")')
    course.add('02_y', '1 / 0')
    done = command('--inplace', '01_x.ipynb', '--json', 'r.json', cwd=tmp_path / 'nbs')
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / 'nbs/r.json').read_text())['exit_status'] == 0
    assert course.read('01_x')['cells'][0]['outputs'][0]['text'] == ['hello\n']
    done = command(cwd=tmp_path)
    assert done.returncode == 1 and 'ZeroDivisionError' in done.stdout and '\x1b' not in done.stdout
    assert '1 passed, 1 failed' in done.stdout


def wait_for(condition, seconds):
    "-> did it become true in time?"
    until = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < until:
        time.sleep(.1)
    return met


@pytest.mark.parametrize('engine', ['fork', 'kernel'])
def test_ctrl_c(tmp_path, engine):
    course, number = Course(tmp_path), f'600.{os.getpid()}'
    course.add('01_quick', 'print("done")')
    course.add('02_long', f'import subprocess\nsubprocess.run(["sleep", "{number}"])')
    p = subprocess.Popen([sys.executable, SCRIPT, '--engine', engine, '--jobs', '1', '--json',
                          tmp_path / 'r.json'], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert wait_for(lambda: any(q.name() == 'sleep' for q in left_behind(number)), 60)
    p.send_signal(signal.SIGINT)
    shown = p.communicate(timeout=30)[0]
    assert p.returncode == 130, shown
    entries = json.loads((tmp_path / 'r.json').read_text())['notebooks']
    assert [e['outcome'] for e in entries] == ['passed', 'error']
    assert 'interrupted' in entries[1]['message'] and left_behind(number) == []


def test_called_from_a_notebook(tmp_path):
    "Inside a running event loop, as in Jupyter."
    import asyncio
    course = Course(tmp_path)
    course.add('01_x', '1')

    async def cell():
        return course.run()

    assert asyncio.run(cell()).exit_status == 0


def test_a_killed_runner_takes_its_notebooks_along(tmp_path):
    "SIGKILL leaves it no last act; the warm parent notices."
    course, number = Course(tmp_path), f'601.{os.getpid()}'
    course.add('01_long', f'import subprocess\nsubprocess.run(["sleep", "{number}"])')
    p = subprocess.Popen([sys.executable, SCRIPT, '--engine', 'fork'], cwd=tmp_path,
                         stdout=subprocess.DEVNULL)
    assert wait_for(lambda: any(q.name() == 'sleep' for q in left_behind(number)), 60)
    p.kill()
    p.wait()
    assert wait_for(lambda: not left_behind(number), 20)
