"""nbgrader takes the course as it is: one chapter released, handed in, graded, and told about.

It runs where nbgrader is installed, which the course itself does not need: `pip install nbgrader`,
then `python -m pytest tests/test_nbgrader.py`. It takes about a minute.
"""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from coursekit.exercises import BEGIN, exercises, student_copy
from coursekit.notebook import load

pytest.importorskip('nbgrader', reason='the course does not need it: pip install nbgrader')
ROOT = Path(__file__).parent.parent
CHAPTER = '00_exports'
SOURCE = load(ROOT / 'nbs' / f'{CHAPTER}.ipynb')
POINTS = {e.name: e.points for e in exercises(SOURCE)}


PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])  # it calls alembic


def nbgrader(folder, *command):
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'COURSE_OFFLINE': '1', 'OMP_NUM_THREADS': '1',
           'JUPYTER_PREFER_ENV_PATH': '1', 'PATH': PATH}
    done = subprocess.run([sys.executable, '-m', 'nbgrader', *command], cwd=folder, env=env,
                          capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stderr


def hand_in(folder, student, solved):
    "A student's notebook made from the release, some of its exercises answered as the course does."
    answers = {e.name: e.solution.source for e in exercises(SOURCE)}
    raw = json.loads((folder / 'release' / CHAPTER / f'{CHAPTER}.ipynb').read_text())
    for cell in raw['cells']:
        name = cell['metadata'].get('nbgrader', {}).get('grade_id')
        if name in solved:
            cell['source'] = answers[name]
    path = folder / 'submitted' / student / CHAPTER / f'{CHAPTER}.ipynb'
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(raw))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    "An nbgrader course in which three students handed in the chapter."
    folder = tmp_path_factory.mktemp('nbgrader')
    (folder / 'nbgrader_config.py').write_text(
        "c = get_config()\nc.CourseDirectory.course_id = 'foundations'\n"
        "c.CourseDirectory.root = '.'\nc.ExecutePreprocessor.timeout = 120\n")
    (folder / 'source' / CHAPTER).mkdir(parents=True)
    shutil.copy(SOURCE.path, folder / 'source' / CHAPTER)
    nbgrader(folder, 'generate_assignment', CHAPTER)
    hand_in(folder, 'solved', POINTS)
    hand_in(folder, 'stub', [])
    hand_in(folder, 'half', ['00-ex1', '00-ex3'])
    nbgrader(folder, 'autograde', CHAPTER)
    nbgrader(folder, 'generate_feedback', CHAPTER)
    return folder


def scores(folder, student):
    "exercise -> what nbgrader gave for it"
    from nbgrader.api import Gradebook
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('PATH', PATH)
        book = Gradebook(f'sqlite:///{folder / "gradebook.db"}')
    with book:
        notebook = book.find_submission_notebook(CHAPTER, CHAPTER, student)
        return {g.name.removesuffix('-test'): g.score for g in notebook.grades}


def test_release_and_student_edition_agree_cell_by_cell(folder):
    theirs = json.loads((folder / 'release' / CHAPTER / f'{CHAPTER}.ipynb').read_text())['cells']
    ours = student_copy(SOURCE)['cells']
    assert 'import notebook2script' in ''.join(theirs.pop()['source'])  # which we leave out
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs):
        assert mine['id'] == other['id'] and mine['cell_type'] == other['cell_type']
        assert ''.join(mine['source']) == ''.join(other['source'])
        marks, others = (c['metadata'].get('nbgrader', {}) for c in (mine, other))
        assert marks == {k: v for k, v in others.items() if k in marks}
        assert set(others) - set(marks) <= {'checksum', 'cell_type'}


def test_everything_the_release_needs_is_in_it(folder):
    text = (folder / 'release' / CHAPTER / f'{CHAPTER}.ipynb').read_text()
    assert BEGIN not in text and text.count('raise NotImplementedError()') == len(POINTS)


@pytest.mark.parametrize('student, solved', [
    ('solved', POINTS), ('stub', {}), ('half', ['00-ex1', '00-ex3'])])
def test_points(folder, student, solved):
    expected = {name: p if name in solved else 0 for name, p in POINTS.items()}
    assert scores(folder, student) == expected


def test_grading_here_gives_the_same_points(folder):
    from coursekit.grading import grade
    from coursekit.plan import Options
    grades = grade(folder / 'submitted', Options(jobs=1, cell_timeout=120), ROOT, lambda text: None)
    for one in grades.submissions:
        assert {m['exercise']: m['points'] for m in one.marks} == scores(folder, one.student)


def test_feedback(folder):
    page = folder / 'feedback' / 'half' / CHAPTER / f'{CHAPTER}.html'
    assert 'NotImplementedError' in page.read_text()
