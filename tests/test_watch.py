"""run_notebook.py --watch: runs what a save reaches, tells of a failure at once, stops cleanly."""
import asyncio
import json
import queue
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import psutil
import pytest
from run_fixtures import course, pool  # noqa: F401
from run_support import FakePool, code, markdown, notebook
from test_export_watch import Watch

import run_notebook as front
from coursekit import runner
from coursekit.engine_fork import PARENT_DIED
from coursekit.notebook import CourseError
from coursekit.plan import Options
from coursekit.progress import Lines
from coursekit.saves import PATIENCE, Saves, essence
from coursekit.watch import Kept, Watcher, WatchPlan


def text_of(*cells):
    return json.dumps(notebook(*cells))


# What counts as a save

@pytest.fixture
def looks(course):
    "A function that looks, a second after it looked last. -> names saved, names changed"
    found, clock = Saves(course.root), iter(range(1000))

    def look():
        saved, changed = found.look(next(clock))
        return [p.name for p in saved], [p.name for p in changed]
    look.saves = found
    return look


def test_a_save_is_told_once_and_when_it_is_complete(course, looks):
    assert looks() == ([], [])
    course.add('01_one', '#export\nx = 2', 'assert x')
    assert looks() == ([], [])  # it may still be being written
    assert looks() == (['01_one.ipynb'], ['01_one.ipynb'])
    assert looks() == looks() == ([], [])


def test_of_many_saves_in_a_row_the_last_counts(course, looks):
    for i in range(5):
        course.add('01_one', f'#export\nx = {i * 10 + 7}', 'assert x')
        course.write('data/datasets.toml', 'a' * i)
        assert looks() == ([], [])
    assert looks() == (['01_one.ipynb'], ['datasets.toml', '01_one.ipynb'])


def test_a_half_saved_notebook_is_given_time(course, looks):
    whole = text_of('#export\nx = 3', 'assert x')
    course.write('nbs/01_one.ipynb', whole[:len(whole) // 2])
    assert looks() == looks() == ([], [])
    course.write('nbs/01_one.ipynb', whole)
    assert looks() == ([], [])
    assert looks() == (['01_one.ipynb'], ['01_one.ipynb'])
    course.write('nbs/01_one.ipynb', whole[:100])  # for good
    told = [looks() for _ in range(int(PATIENCE) + 2)]
    assert told.count((['01_one.ipynb'], ['01_one.ipynb'])) == 1 and told[0] == ([], [])


def test_prose_and_outputs_are_saves_that_change_nothing(course, looks):
    output = {'output_type': 'stream', 'name': 'stdout', 'text': 'hello'}
    course.add('01_one', markdown('words'), '#export\nx = 1', code('assert x', outputs=[output]))
    looks()
    assert looks() == (['01_one.ipynb'], [])
    course.add('01_one', '#export\nx = 1', code('assert x', 'slow'))
    looks()
    assert looks() == (['01_one.ipynb'], ['01_one.ipynb'])


def test_new_and_removed_files(course, looks):
    course.add('05_five', '5')
    course.write('data/new.csv', '1')
    course.write('nbs/helper.py', 'x = 1')
    looks()
    assert looks() == (['05_five.ipynb'], ['new.csv', '05_five.ipynb', 'helper.py'])
    (course.root / 'nbs/05_five.ipynb').unlink()
    looks()
    assert looks() == (['05_five.ipynb'], ['05_five.ipynb'])


def test_modules_made_by_ourselves_are_no_save(course, looks):
    course.write('exp/nb_01.py', 'x = 11\n')
    looks.saves.made()
    assert looks() == looks() == ([], [])
    course.write('exp/nb_01.py', '# %% 01_one.ipynb cell 9 #other\nx = 11\n')
    before = essence(course.root / 'exp/nb_01.py')
    course.write('exp/nb_01.py', '# %% 01_one.ipynb cell 10 #other\nx = 11\n')
    assert essence(course.root / 'exp/nb_01.py') == before


# What is run

def drive(course, *steps, **options):
    """Watch, and make a step whenever the text that it waits for was shown: (text, action).
    -> what was shown, and the watcher"""
    shown = []
    for module in course.root.glob('exp/nb_*.py'):  # made by hand, for other tests
        module.unlink()

    class Shown(Lines):
        def say(self, text):
            shown.append(text)

    async def script(stop):
        at = 0
        for text, action in steps:
            until = time.monotonic() + 10
            while not (found := [i for i in range(at, len(shown)) if text in shown[i]]):
                assert time.monotonic() < until, f'{text!r} did not come, but {shown}'
                await asyncio.sleep(.01)
            at = found[0] + 1
            action()
        stop.set()

    async def main():
        stop = asyncio.Event()
        going = asyncio.ensure_future(watcher.go(stop, pause=.02))
        try:
            await script(stop)
        finally:
            stop.set()
            await going

    watcher = Watcher([], Options(**{'jobs': 1, **options}), course.root, shown.append)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('coursekit.watch.progress_for', Shown)
        asyncio.run(main())
    return '\n'.join(shown), watcher


def nothing():
    pass


WATCHING = 'watching; Ctrl-C stops'


def test_only_what_a_save_reaches_is_run(course, pool):
    fake = pool()
    shown, _ = drive(course, (WATCHING, lambda: course.add('02_two', 'x = 2')),
                     (WATCHING, lambda: course.add('04_four', markdown('new'), '1')),
                     ('nothing that runs has changed', nothing))
    assert sorted(fake.ran[:4]) == ['01_one', '02_two', '03_three', '04_four']
    assert fake.ran[4:] == ['02_two'] and 'run   nbs/02_two.ipynb: cell' in shown


def test_export_comes_first_so_that_those_who_import_it_run(course, pool):
    fake = pool()
    drive(course, (WATCHING, lambda: course.add('01_one', '#export\nx = 5', 'assert x')),
          (WATCHING, nothing))
    assert fake.ran[4:] == ['01_one', '02_two', '03_three']
    assert 'x = 5' in (course.root / 'exp/nb_01.py').read_text()


def test_an_export_error_is_told_and_what_can_be_run_is_run(course, pool):
    fake = pool(bad={})
    shown, _ = drive(course, (WATCHING, lambda: course.add('01_one', '#export\nx = (', 'assert x')),
                     (WATCHING, nothing))
    assert '01_one.ipynb cell 1 (#id1), line 2: syntax error' in shown and 'not exported' in shown
    assert '01_one' in fake.ran[4:]


def test_a_save_during_a_run_begins_the_next_one(course, pool, monkeypatch):
    "What had passed stays so; what was saved comes first."
    fake = pool(seconds=.4)
    shown, watcher = drive(course, ('passed        nbs/01_one', lambda: course.add('04_four', '2')),
                           (WATCHING, nothing))
    assert fake.ran == ['01_one', '02_two', '04_four', '02_two', '03_three']
    assert 'interrupted' not in shown and all(r.ok for r in watcher.results)


def test_what_was_saved_does_not_wait_for_what_was_never_run(course):
    plan = WatchPlan([], Options(changed=True, jobs=1), course.root)
    assert plan.order[0] == 'nbs/01_one.ipynb' and plan.needs('nbs/02_two.ipynb')
    plan.prefer([course.root / 'nbs/02_two.ipynb'])
    assert plan.order[0] == 'nbs/02_two.ipynb' and plan.needs('nbs/02_two.ipynb') == []
    assert plan.needs('nbs/03_three.ipynb') == ['nbs/02_two.ipynb', 'nbs/01_one.ipynb']
    plan = WatchPlan([], Options(changed=True, jobs=1), course.root)
    plan.prefer([course.root / 'nbs/01_one.ipynb', course.root / 'nbs/02_two.ipynb'])
    assert plan.order[:2] == ['nbs/01_one.ipynb', 'nbs/02_two.ipynb']
    assert plan.needs('nbs/02_two.ipynb') == ['nbs/01_one.ipynb']


def test_undoing_a_mistake_runs_the_culprit_alone(course, pool):
    "Notebooks that were blocked are made of what they passed with; so they pass."
    fake, good = pool(), ('#export\nx = 1', 'assert x')

    def mistake():
        fake.bad = {'01_one': 'failed'}
        course.add('01_one', good[0], 'assert not x')

    def undo():
        fake.bad = {}
        course.add('01_one', *good)

    shown, watcher = drive(course, (WATCHING, mistake), (WATCHING, undo), (WATCHING, nothing))
    assert fake.ran[4:] == ['01_one', '01_one']
    assert 'BLOCKED  02_two, 03_three: by 01_one.ipynb (failed)' in shown
    assert all(r.ok for r in watcher.results)


def test_one_pool_serves_until_its_parent_dies(course, monkeypatch):
    made = []

    def pool_for(plan):
        made.append(FakePool())
        made[-1].first = SimpleNamespace(refused='')
        return made[-1]

    async def main():
        kept, plan = Kept(), WatchPlan([], Options(changed=True), course.root)
        await kept.prepare(plan)
        await kept.prepare(plan)
        assert len(made) == 1
        async with kept as pool:
            assert pool is made[0]
        made[0].first.refused = PARENT_DIED
        await kept.prepare(plan)
        async with kept as pool:
            assert pool is made[1] and len(made) == 2
        await kept.close()

    monkeypatch.setattr(runner, 'pool_for', pool_for)
    asyncio.run(main())


def test_trouble_is_told_and_the_watch_goes_on(course, pool, monkeypatch):
    monkeypatch.setattr('coursekit.saves.PATIENCE', .1)
    fake = pool()
    broken = '{"cells": ['
    drive(course, (WATCHING, lambda: course.write('nbs/04_four.ipynb', broken)),
          ('is not valid JSON', nothing), (WATCHING, lambda: course.add('04_four', '3')),
          (WATCHING, nothing))
    assert fake.ran[4:] == ['04_four']


def test_a_course_that_cannot_be_planned(course, pool):
    fake = pool()
    drive(course, ('error: --only 07: matches no', lambda: course.add('07_seven', '1')),
          ('07_seven.ipynb was saved', nothing), (WATCHING, nothing), only=('07',))
    assert fake.ran == ['07_seven']


@pytest.mark.parametrize('other', ['lf', 'readme'])
def test_options_that_do_not_go_with_it(course, other):
    with pytest.raises(CourseError, match='do not go with it'):
        course.run(watch=True, **{other: True})


# The command line

class Watching(Watch):
    "The watching command line, in a session of its own, and the lines it prints as they come."

    def __init__(self, root):
        self.process = subprocess.Popen(
            [sys.executable, front.__file__, '--changed', '--watch', '--jobs', '2'], cwd=root,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding='utf-8')
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()


@pytest.mark.skipif(sys.platform == 'win32', reason='sends SIGINT')
def test_command_line(course):
    "A failure is told with cell and line and whom it blocks; Ctrl-C leaves nothing behind."
    watching = Watching(course.root)
    try:
        watching.until(WATCHING)
        course.add('01_one', '#export\nx = 1', 'y = 1\nassert x == 2, "not two"',
                   'import time; time.sleep(60)')
        told = ''.join(watching.until('after the save'))
        assert 'FAILED  nbs/01_one.ipynb cell 2 (#id2), line 2' in told
        assert 'BLOCKED  02_two, 03_three: by 01_one.ipynb (failed)' in told
        watching.until(WATCHING)
        course.add('01_one', 'open("here", "w"); import time; time.sleep(60)')
        wait_until((course.root / 'nbs/here').exists, 20)
        below = psutil.Process(watching.process.pid).children(recursive=True)
        watching.process.send_signal(signal.SIGINT)
        watching.until('stopped watching')
        assert watching.process.wait(10) == 0 and watching.process.stderr.read() == ''
        assert len(below) == 2 and not psutil.wait_procs(below, 3)[1]
    finally:
        watching.process.kill()
        watching.process.wait()
        watching.process.stderr.close()


def wait_until(happened, seconds):
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, 'waited in vain'
        time.sleep(.02)
