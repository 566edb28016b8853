"""What is run, in what order and why: the import graph, blocking, --changed, --lf, --only, --skip."""
import ast
import asyncio
import json

import pytest
from run_support import Course, FakePool, code, markdown

from coursekit import runner
from coursekit.cache import changed_cells
from coursekit.graph import Graph, count_tests, imports, python_of, tree_of
from coursekit.notebook import CourseError, load
from coursekit.plan import Options, Plan, preloads


@pytest.fixture
def course(tmp_path):
    "01 is used by 02 directly and by 03 through 02's module; 04 stands alone."
    course = Course(tmp_path)
    course.add('01_one', '#export\nx = 1', 'assert x')
    course.add('02_two', 'from exp.nb_01 import x', '#export\nfrom exp.nb_01 import x\ny = x')
    course.add('03_three', 'import exp.nb_02 as two', 'two.y')
    course.add('04_four', '1')
    course.write('exp/nb_01.py', 'x = 1\n')
    course.write('exp/nb_02.py', 'from .nb_01 import x\ny = x\n')
    course.write('data/datasets.toml', 'a = 1\n')
    return course


@pytest.fixture
def pool(monkeypatch):
    "Engines that run nothing; `pool(bad={...})` says what goes wrong."
    def use(**kwargs):
        fake = FakePool(**kwargs)
        monkeypatch.setattr(runner, 'pool_for', lambda plan: fake)
        return fake
    return use


def outcomes(outcome):
    return {r.notebook[4:6]: r.outcome for r in outcome.results}


# The graph

def test_imports():
    tree = ast.parse('import a.b, c\nfrom d import e\nfrom .f import g\nfrom .. import h\nfrom i import *')
    assert imports(tree, 'p.q') == {'a.b', 'c', 'd', 'd.e', 'p.q.f', 'p.q.f.g', 'p', 'p.h', 'i'}


@pytest.mark.parametrize('source, python', [
    ('%matplotlib inline\nimport a', 'pass\nimport a'),
    ('if x:\n    !ls\nimport a', 'if x:\n    pass\nimport a'),
    ('a?\nimport a', 'pass\nimport a'), ('a??', 'pass'),
    ('files = !ls\nimport a', 'files = None\nimport a'), ('t = %time f()\nimport a', 't = None\nimport a'),
    ('%%time\nimport a', '\nimport a'), ('%%bash\nimport a', ''), ('# is it so?\nimport a', '# is it so?\nimport a')])
def test_python_of(source, python):
    assert python_of(source) == python


def test_tree_of_odd_cells():
    assert imports(tree_of('x = (5\n     % 3)\nimport a')) == {'a'}
    assert imports(tree_of('def f(:\nimport a')) == set()


def test_count_tests(tmp_path):
    course = Course(tmp_path)
    path = course.add('01_x', 'assert 1\nassert 2', 'test_eq(1, 1)\nnb.test_ne(1, 2)\nclaim("a", 1)', '%magic\nassert 3',
                      markdown('assert 4'), 'contest(1)')
    assert count_tests(load(path)) == 6


def test_graph(course):
    graph = Plan([], Options(), course.root).graph
    needs = {k[4:6]: {n[4:6] for n in v} for k, v in graph.needs.items()}
    assert needs == {'01': set(), '02': {'01'}, '03': {'01', '02'}, '04': set()}


def test_order_puts_the_longest_chain_first(course):
    course.add('00_zero', '1')
    plan = Plan([], Options(), course.root)
    assert [k[4:6] for k in plan.order] == ['01', '02', '00', '03', '04']
    times = {'nbs/04_four.ipynb': 100.0}
    assert plan.graph.order(lambda k: times.get(k, 1.0))[0] == 'nbs/04_four.ipynb'


def test_cycle_still_runs(course, pool):
    course.write('exp/nb_01.py', 'import exp.nb_03\n')
    course.write('exp/nb_03.py', 'import exp.nb_01\n')
    fake = pool()
    assert course.run().exit_status == 0
    assert sorted(fake.ran) == ['01_one', '02_two', '03_three', '04_four']


def test_libraries_and_preloads(course):
    course.add('05_five', 'import torch.nn as nn, matplotlib.pyplot as plt\nfrom sklearn.linear_model import Ridge',
               'from fastai.vision.all import *\nfrom tqdm.auto import tqdm')
    plan = Plan([], Options(), course.root)
    found = preloads(plan.graph.libraries())
    assert {'torch', 'torch.nn', 'sklearn.linear_model', 'numpy', 'matplotlib.figure'} <= set(found)
    assert not any(m.split('.')[0] in ('fastai', 'tqdm', 'exp') or m == 'matplotlib.pyplot' for m in found)
    course.write('nbs/matplotlibrc', '')
    assert 'matplotlib' not in preloads(plan.graph.libraries(), [course.root / 'nbs'])


# Running a plan

def test_blocking(course, pool):
    fake = pool(bad={'01_one': 'crashed'})
    outcome = course.run()
    assert outcomes(outcome) == {'01': 'crashed', '02': 'blocked', '03': 'blocked', '04': 'passed'}
    assert sorted(fake.ran) == ['01_one', '04_four']
    assert outcome['03_three.ipynb'].message == 'blocked by 01_one.ipynb (crashed)'
    assert 'BLOCKED  02_two, 03_three: by 01_one.ipynb (crashed)' in outcome.shown
    assert outcome.exit_status == 1


def test_a_skipped_notebook_blocks_nothing(course, pool):
    fake = pool()
    course.add('01_one', '1', course={'needs': ['slow']})
    outcome = course.run(skip='slow')
    assert outcomes(outcome) == {'01': 'skipped', '02': 'passed', '03': 'passed', '04': 'passed'}
    assert outcome['01_one.ipynb'].message == '--skip slow' and '01_one' not in fake.ran


def test_jobs(course, pool):
    fake = pool(seconds=.05)
    course.run(jobs=2)
    assert fake.most == 2 and fake.ran.index('01_one') < fake.ran.index('02_two') < fake.ran.index('03_three')


def test_error_of_the_tool_is_a_result(course, pool, monkeypatch):
    course.write('nbs/02_two.ipynb', '{"nbformat": 3}')
    pool()
    outcome = course.run()
    assert outcomes(outcome) == {'02': 'error', '01': 'passed', '03': 'passed', '04': 'passed'}
    assert 'version 4 notebook' in outcome['02_two.ipynb'].message and outcome.exit_status == 1


def test_other_languages(course, pool):
    pool()
    nb = json.loads((course.root / 'nbs/04_four.ipynb').read_text())
    nb['metadata']['kernelspec'] = {'name': 'ir', 'language': 'R'}
    course.write('nbs/04_four.ipynb', json.dumps(nb))
    assert 'is a notebook for R' in course.run('nbs/04_four.ipynb').results[0].message


def test_run_timeout_reaches_those_not_started(course, pool):
    pool(seconds=.1)
    outcome = course.run(run_timeout=.05, jobs=1)
    assert 'passed' in outcomes(outcome).values() and outcome.exit_status == 1
    assert 'not started' in outcome.results[-1].message or 'blocked' in outcome.results[-1].message


def test_interruption_reports_what_there_is(course, monkeypatch):
    class Interrupting(FakePool):
        async def run(self, job, *args):
            if job.key == 'nbs/02_two.ipynb':
                asyncio.get_running_loop().call_later(.01, main.cancel)
                await asyncio.sleep(5)
            return await super().run(job, *args)

    fake = Interrupting()
    monkeypatch.setattr(runner, 'pool_for', lambda plan: fake)

    async def go():
        nonlocal main
        main = asyncio.current_task()
        return await run.go()

    main = None
    run = runner.Run(Plan([], Options(jobs=1), course.root))
    results = {r.notebook[4:6]: r for r in asyncio.run(go())}
    assert run.interrupted and results['01'].outcome == 'passed'
    assert results['02'].outcome == results['03'].outcome == 'error' and 'interrupted' in results['03'].message


def test_nothing_run_is_a_failure(course, pool):
    pool()
    outcome = course.run('nbs/04_four.ipynb', skip='slow')
    assert outcome.exit_status == 0
    course.add('04_four', '1', course={'needs': 'slow'})
    outcome = course.run('nbs/04_four.ipynb', skip='slow')
    assert outcome.exit_status == 1 and 'nothing was run' in outcome.shown


# Selecting

def test_paths(course, pool, monkeypatch):
    pool()
    course.write('extra/deep/05_a.ipynb', (course.root / 'nbs/04_four.ipynb').read_text())
    course.write('extra/.ipynb_checkpoints/05_a.ipynb', '{}')
    assert len(course.run('nbs').results) == 4
    assert [r.notebook for r in course.run('extra').results] == ['extra/deep/05_a.ipynb']
    assert len(course.run('nbs/0[12]*.ipynb', 'nbs/01_one.ipynb').results) == 2
    with pytest.raises(CourseError, match='no such notebook'):
        course.run('nbs/09*.ipynb')
    with pytest.raises(CourseError, match='no notebook in this folder'):
        course.run('data')


def test_notebook_outside_any_course(tmp_path, pool):
    pool()
    course = Course(tmp_path / 'made')
    lonely = course.write('../lonely/x.ipynb', course.add('x', '1').read_text())
    from run_notebook import run_notebook
    outcome = run_notebook(lonely, show=lambda line: None)
    assert [r.notebook for r in outcome.results] == ['x.ipynb']
    assert not (lonely.parent / '.course').exists()


def test_only(course, pool):
    pool()
    assert set(outcomes(course.run(only='02*,04'))) == {'02', '04'}
    with pytest.raises(CourseError, match='matches no notebook'):
        course.run(only='99*')


def test_cells_left_out(course, pool, monkeypatch):
    monkeypatch.setenv('COURSE_OFFLINE', '1')
    course.add('04_four', code('1', 'slow'), code('2', 'net'), '3', code('4', 'other'))
    plan = Plan([], Options(skip=('slow',)), course.root)
    assert plan.job('nbs/04_four.ipynb').skip == {1: '--skip slow', 2: 'needs net: COURSE_OFFLINE is set'}
    monkeypatch.setenv('COURSE_OFFLINE', '0')
    assert plan.item(course.root / 'nbs/04_four.ipynb').skip_cells == {1: '--skip slow'}


def test_gpu(course, pool, monkeypatch):
    pool()
    course.add('04_four', '1', course={'needs': ['gpu']})
    monkeypatch.setattr('coursekit.plan.lacking', lambda name: 'there is no GPU here')
    assert course.run()['04_four.ipynb'].message == 'needs gpu: there is no GPU here'
    monkeypatch.setattr('coursekit.plan.lacking', lambda name: '')
    assert course.run()['04_four.ipynb'].outcome == 'passed'


def test_program(course, pool):
    pool()
    course.add('04_four', '1', course={'needs': ['no-such-compiler']})
    assert 'no program' in course.run()['04_four.ipynb'].message


@pytest.mark.parametrize('course_meta, options, wanted', [
    (None, {}, (600, 'the default; --timeout changes it')), ({'budget': 20}, {}, (100, '5 times its budget of 20 s')),
    ({'budget': 20}, {'timeout': 7}, (7, '--timeout')), ({'budget': 'x'}, {'timeout': 0}, (None, '--timeout'))])
def test_limits(course, course_meta, options, wanted):
    course.add('04_four', '1', course=course_meta)
    job = Plan([], Options(**options), course.root).job('nbs/04_four.ipynb')
    assert (job.timeout, job.timeout_from) == wanted


def test_threads_are_shared_out(course, monkeypatch):
    monkeypatch.setattr('os.sched_getaffinity', lambda pid: set(range(8)))
    env = Plan([], Options(jobs=2), course.root).env()
    assert env['OMP_NUM_THREADS'] == env['MKL_NUM_THREADS'] == '4'
    assert Plan([], Options(), course.root).jobs == 4
    assert env['PYTHONPATH'].split(':')[0] == str(course.root)


# What changed

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
    assert why(again) == {'01': 'failed last time', '02': 'blocked last time', '03': 'blocked last time'}
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
    assert changed_cells([[1, 'a'], [2, 'b']], [[1, 'b'], [2, 'a']]) == 'cells were moved or removed'
    assert changed_cells([[1, 'a']], [[1, 'a'], [3, 'c'], [4, 'd']]) == 'cells 3, 4 changed'
    assert changed_cells([], [[i, str(i)] for i in range(20)]) == '20 cells changed'


def test_expected_time(course, pool):
    from coursekit.progress import Lines
    pool()
    plan = Plan([], Options(jobs=2), course.root)
    assert Lines(plan).expected() is None
    course.run()
    assert json.loads((course.root / '.course/runs.json').read_text())['nbs/01_one.ipynb']['seconds'] == .5
    lines = Lines(Plan([], Options(jobs=2), course.root))
    assert lines.expected() == 1.0 and lines.headline() == '0/4 notebooks, 0:00, about 0:01 to go'


def test_graph_needs_no_course_modules(tmp_path):
    course = Course(tmp_path)
    nb = load(course.add('01_x', 'import helper, missing.thing'))
    course.write('nbs/helper.py', 'import torch')
    files, libraries = Graph({'k': nb}, tmp_path).reached['k']
    assert [f.name for f in files] == ['helper.py'] and libraries == {'torch', 'missing.thing'}
