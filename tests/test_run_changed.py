"""--changed and --lf: what is run again, and why."""
import json
from types import SimpleNamespace

import pytest
from run_fixtures import course, outcomes, pool  # noqa: F401
from run_support import FakePool, code, markdown

from coursekit import cache, runner
from coursekit.cache import changed_cells
from coursekit.plan import Options, Plan


def why(outcome):
    return {line.split()[1][4:6]: line.split(': ', 1)[1] for line in outcome.shown.split('\n')
            if line.startswith('  run   ')}


def test_changed(course, pool):
    pool()
    assert set(why(course.run(changed=True)).values()) == {'never run before'}
    again = course.run(changed=True)
    assert why(again) == {} and again.exit_status == 0 and 'everything is up to date' in again.shown
    assert outcomes(again) == dict.fromkeys(['01', '02', '03', '04'], 'skipped')

    course.add('01_one', '#export\nx = 1', markdown('new words'), 'assert x')
    assert why(course.run(changed=True)) == {}
    course.add('01_one', '#export\nx = 1', 'assert x == 1')
    assert why(course.run(changed=True)) == {'01': 'cell 2 changed'}
    course.write('exp/nb_01.py', 'x = 2\n')
    assert why(course.run(changed=True)) == {'02': 'exp/nb_01.py changed',
                                             '03': 'exp/nb_01.py changed (through exp/nb_02.py)'}
    course.write('data/datasets.toml', 'a = 2\n')
    assert set(why(course.run(changed=True)).values()) == {'data/datasets.toml changed'}
    course.add('04_four', code('1', 'slow'))
    assert why(course.run(changed=True)) == {'04': 'cell 1 changed'}


def test_changed_settings_and_versions(course, pool, monkeypatch):
    pool()
    course.run()
    monkeypatch.setenv('COURSE_DATA', '/elsewhere')
    assert set(why(course.run(changed=True)).values()) == {'COURSE_DATA unset → /elsewhere'}
    monkeypatch.setattr('coursekit.cache.version', lambda name: '9.9' if name == 'torch' else '1')
    course.run()
    monkeypatch.setattr('coursekit.cache.version', lambda name: '9.10' if name == 'torch' else '1')
    assert set(why(course.run(changed=True)).values()) == {'torch 9.9 → 9.10'}


def test_failed_runs_again(course, pool):
    pool(bad={'01_one': 'failed'})
    course.run()
    pool(bad={'01_one': 'failed'})
    again = course.run(changed=True)
    assert why(again) == {
        '01': 'failed last time', '02': 'blocked last time', '03': 'blocked last time'
    }
    assert again.exit_status == 1


def test_lf(course, pool):
    pool(bad={'02_two': 'failed'})
    course.run()
    assert set(outcomes(course.run(lf=True))) == {'02', '03'}
    pool()
    course.run(lf=True)
    outcome = course.run(lf=True)
    assert 'no failure on record' in outcome.shown and len(outcome.results) == 4


def test_damaged_history_costs_a_rerun_only(course, pool):
    pool()
    course.run()
    (course.root / '.course' / 'runs.json').write_text('{"nbs/01')
    assert len(why(course.run(changed=True))) == 4


def test_changed_cells():
    assert changed_cells([[1, 'a'], [2, 'b']], [[2, 'a'], [5, 'b']]) == ''
    assert changed_cells([[1, 'a'], [2, 'b']],
                         [[1, 'b'], [2, 'a']]) == 'cells were moved or removed'
    assert changed_cells([[1, 'a']], [[1, 'a'], [3, 'c'], [4, 'd']]) == 'cells 3, 4 changed'
    assert changed_cells([], [[i, str(i)] for i in range(20)]) == '20 cells changed'


def test_expected_time(course, pool):
    from coursekit.progress import Lines
    pool()
    plan = Plan([], Options(jobs=2), course.root)
    assert Lines(plan).expected() is None
    course.run()
    assert json.loads(
        (course.root / '.course/runs.json').read_text())['nbs/01_one.ipynb']['seconds'] == .5
    lines = Lines(Plan([], Options(jobs=2), course.root))
    assert lines.expected() == 1.0 and lines.headline() == '0/4 notebooks, 0:00, about 0:01 to go'


def test_a_module_exported_during_the_run_reaches_its_users(course, pool, monkeypatch):
    "Whoever runs 01 exports its module; 02 and 03 were up to date until then."
    pool()
    course.run()
    course.add('01_one', '#export\nx = 5', 'assert x')

    class Exporting(FakePool):
        async def run(self, job, *args):
            if job.key == 'nbs/01_one.ipynb':
                course.write('exp/nb_01.py', 'x = 5\n')
            return await super().run(job, *args)

    fake = Exporting()
    monkeypatch.setattr(runner, 'pool_for', lambda plan: fake)
    outcome = course.run(changed=True)
    assert sorted(fake.ran) == ['01_one', '02_two', '03_three']
    assert outcomes(outcome)['04'] == 'skipped' and outcome.exit_status == 0


@pytest.mark.parametrize('text', [None, 'Name: torch\n'])
def test_a_package_with_a_damaged_record_has_no_version(monkeypatch, text):
    monkeypatch.setattr(cache, 'distribution', lambda name: SimpleNamespace(read_text=lambda f: text))
    assert list(cache.versions())[:1] == ['python'] and 'torch' not in cache.versions()
