"""What is run, and what becomes of the rest: blocking, skipping, selecting, limits."""
import asyncio
import json

import pytest
from run_fixtures import course, outcomes, pool  # noqa: F401
from run_support import Course, FakePool, code

from coursekit import runner
from coursekit.notebook import CourseError
from coursekit.plan import Options, Plan


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
    assert fake.most == 2 and [n for n in fake.ran if n != '04_four'] == sorted(fake.ran)[:3]


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
    assert results['02'].outcome == results['03'].outcome == 'error'
    assert 'interrupted' in results['03'].message


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
    assert plan.job('nbs/04_four.ipynb').skip == {
        1: '--skip slow', 2: 'needs net: COURSE_OFFLINE is set'
    }
    monkeypatch.setenv('COURSE_OFFLINE', '0')
    assert plan.item(course.root / 'nbs/04_four.ipynb').skip_cells == {1: '--skip slow'}


def test_gpu(course, pool, monkeypatch):
    pool()
    course.add('04_four', '1', course={'needs': ['gpu']})
    monkeypatch.setattr('coursekit.discovery.lacking', lambda name: 'there is no GPU here')
    assert course.run()['04_four.ipynb'].message == 'needs gpu: there is no GPU here'
    monkeypatch.setattr('coursekit.discovery.lacking', lambda name: '')
    assert course.run()['04_four.ipynb'].outcome == 'passed'


def test_program(course, pool):
    pool()
    course.add('04_four', '1', course={'needs': ['no-such-compiler']})
    assert 'no program' in course.run()['04_four.ipynb'].message


@pytest.mark.parametrize('course_meta, options, wanted',
                         [(None, {}, (600, 'the default; --timeout changes it')),
                          ({'budget': 20}, {}, (100, '5 times its budget of 20 s')),
                          ({'budget': 20}, {'timeout': 7}, (7, '--timeout')),
                          ({'budget': 'x'}, {'timeout': 0}, (None, '--timeout'))])
def test_limits(course, course_meta, options, wanted):
    course.add('04_four', '1', course=course_meta)
    job = Plan([], Options(**options), course.root).job('nbs/04_four.ipynb')
    assert (job.timeout, job.timeout_from) == wanted


def test_threads_are_shared_out(course, monkeypatch):
    monkeypatch.setattr('os.sched_getaffinity', lambda pid: set(range(8)))
    env = Plan([], Options(jobs=2), course.root).env()
    assert env['OMP_NUM_THREADS'] == env['MKL_NUM_THREADS'] == '4'
    assert Plan([], Options(), course.root).jobs == 4
    assert Plan([], Options(), course.root).env()['OMP_NUM_THREADS'] == '1'
    assert Plan([], Options(jobs=1), course.root).env()['OMP_NUM_THREADS'] == '8'
    assert env['PYTHONPATH'].split(':')[0] == str(course.root)
