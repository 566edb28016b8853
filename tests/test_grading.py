"""Grading a class: the course's tests decide, and what one submission does costs only itself."""
import csv
import json
import os
import secrets
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from run_support import Course, code, left_behind, markdown, notebook

from coursekit import grading
from coursekit.exercises import student_copy
from coursekit.grading import collect, grade
from coursekit.grading_report import inert
from coursekit.notebook import CourseError, load
from coursekit.plan import Options
from coursekit.restore import TAMPERED

WORD = f'stray{secrets.token_hex(4)}'
HELPERS = 'def test_eq(a, b):\n    assert a == b, f"{a} is not {b}"\n'
DOUBLE = '''def double(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION'''
AREA = '''def area(w, h):
    ### BEGIN SOLUTION
    return w * h * unit
    ### END SOLUTION'''
GOOD = {'01-ex1': 'def double(x):\n    return x + x', '01-ex2': 'def area(w, h):\n    return h * w'}


def marked(source, name, points=None):
    marks = {'grade': points is not None, 'grade_id': name, 'locked': points is not None,
             'schema_version': 3, 'solution': points is None, 'task': False}
    marks |= {'points': points} if points else {}
    return code(source, id=name, metadata={'nbgrader': marks})


def make_course(root):
    course = Course(root)
    course.write('exp/nb_00.py', HELPERS)
    course.add('00_helpers', 'secret = 1')
    course.add('01_sizes', 'from exp.nb_00 import test_eq\nunit = 1', markdown('# Sizes'),
               marked(DOUBLE, '01-ex1'), marked('test_eq(double(4), 8)', '01-ex1-test', 2),
               marked(AREA, '01-ex2'), marked('test_eq(area(2, 3), 6)', '01-ex2-test', 3),
               'from notebook2script import notebook2script\nnotebook2script("01_sizes.ipynb")')
    return course


class Room:
    "A class: `hand_in(student, answers)` writes a submission, `grade()` gives everybody's marks."

    def __init__(self, root):
        self.course, self.folder = make_course(root / 'course'), root / 'submissions'
        self.raw = student_copy(load(root / 'course/nbs/01_sizes.ipynb'))

    def hand_in(self, student, answers=GOOD, edit=lambda raw: None, name='01_sizes.ipynb'):
        raw = json.loads(json.dumps(self.raw))
        for cell in raw['cells']:
            if cell.get('id') in answers:
                cell['source'] = answers[cell['id']]
        edit(raw)
        path = self.folder / student / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(raw), encoding='utf-8')
        return path

    def grade(self, show=lambda text: None, **options):
        options = Options(**{'jobs': 2, 'cell_timeout': 20, 'mem_limit': 1} | options)
        return grade(self.folder, options, self.course.root, show)


def points(grades):
    return {s.student: [m['points'] for m in s.marks] for s in grades.submissions}


def said(grades, student):
    return [m['message'] for s in grades.submissions if s.student == student for m in s.marks]


def after(source, answers=GOOD):
    "Good answers, the first of which does something more."
    return {**answers, '01-ex1': f'{answers["01-ex1"]}\n{source}'}


# What a student may and may not change

def cells_called(raw, name):
    return [c for c in raw['cells'] if c.get('id') == name]


def edit_test(raw):
    cells_called(raw, '01-ex1-test')[0]['source'] = 'pass'


def delete_tests(raw):
    raw['cells'] = [c for c in raw['cells'] if 'test' not in c['id']]


def delete_answer(raw):
    raw['cells'].remove(cells_called(raw, '01-ex1')[0])


def twice(raw):
    raw['cells'] += [{**cells_called(raw, '01-ex1')[0], 'id': 'again'}]


def with_helper(raw):
    raw['cells'].insert(0, code('import operator as op', id='mine0'))
    raw['cells'].insert(1, code('def add(a, b):\n    return op.add(a, b)', id='mine1'))
    raw['cells'].insert(2, code('1 / 0', id='mine2'))


def slow_given(raw):
    raw['cells'][0]['source'] = 'from exp.nb_00 import test_eq\nunit = 7'


def empty(raw):
    raw['cells'] = []


WRONG = {'01-ex1': 'def double(x):\n    return 9', '01-ex2': 'def area(w, h):\n    return 9'}


@pytest.fixture(scope='module')
def honest(tmp_path_factory):
    room = Room(tmp_path_factory.mktemp('honest'))
    room.hand_in('good')
    room.hand_in('stub', {})
    room.hand_in('half', {**GOOD, '01-ex2': WRONG['01-ex2']})
    room.hand_in('syntax', {**GOOD, '01-ex1': 'def double(x:'})
    room.hand_in('edits', WRONG, edit_test)
    room.hand_in('deletes', WRONG, delete_tests)
    room.hand_in('gone', GOOD, delete_answer)
    room.hand_in('twice', GOOD, twice)
    room.hand_in('helper', {**GOOD, '01-ex1': 'def double(x):\n    return add(x, x)'}, with_helper)
    room.hand_in('given', GOOD, slow_given)
    room.hand_in('renamed', GOOD, name='my homework (1).ipynb')
    room.hand_in('assigned', GOOD, name='week1/01_sizes.ipynb')
    room.hand_in('both')
    room.hand_in('both', name='week1/01_sizes.ipynb')
    room.hand_in('other', {}, empty, name='07_none.ipynb')
    room.hand_in('cut').write_text('{"cells": [')
    room.hand_in('=cmd()')
    shown = []
    grades = room.grade(shown.append)
    grading.tell(grades, shown.append)
    grades.shown, grades.root = '\n'.join(shown), room.folder.parent
    return grades


@pytest.mark.parametrize('student, expected', {
    'good': [2, 3], 'stub': [0, 0], 'half': [2, 0], 'syntax': [0, 3], 'edits': [0, 0],
    'deletes': [0, 0], 'gone': [0, 3], 'twice': [0, 3], 'helper': [2, 3], 'given': [2, 3],
    'renamed': [2, 3], 'assigned': [2, 3], 'both': [0, 0], 'other': [], 'cut': [0, 0],
    '=cmd()': [2, 3]}.items())
def test_points(honest, student, expected):
    assert points(honest)[student] == expected, said(honest, student)


def test_messages(honest):
    assert said(honest, 'half') == ['', 'AssertionError: 9 is not 6']
    assert said(honest, 'stub') == ['NotImplementedError', 'NotImplementedError']
    assert 'SyntaxError' in said(honest, 'syntax')[0]
    assert said(honest, 'gone')[0] == 'its cell was deleted'
    assert 'not graded: 2 cells are called 01-ex1 (cells 3, 7)' in said(honest, 'twice')[0]
    assert 'edits 01_sizes.ipynb: the test of 01-ex1 was edited; the course\'s own' in honest.shown
    assert 'deletes 01_sizes.ipynb: the test of 01-ex2 was deleted' in honest.shown
    assert 'the same student also handed in week1/01_sizes.ipynb' in honest.shown
    assert 'cut 01_sizes.ipynb: is not valid JSON' in honest.shown
    assert 'answers no exercise of the course' in honest.shown
    assert honest.exit_status == 1


def test_summary_and_files(honest, tmp_path):
    assert '01-ex1' in honest.shown and '13 of 17 submissions graded' in honest.shown
    grading.write_csv(tmp_path / 'g.csv', honest)
    rows = {r['student']: r for r in csv.DictReader((tmp_path / 'g.csv').open())}
    assert rows['half']['points'] == '2' and rows['half']['max'] == '5'
    assert (rows['half']['01-ex1'], rows['half']['01-ex2']) == ('2', '0')
    assert "'=cmd()" in rows and rows['other']['01-ex1'] == '' and rows['cut']['note']
    grading.write_json(tmp_path / 'g.json', honest)
    record = json.loads((tmp_path / 'g.json').read_text())
    half = next(s for s in record['submissions'] if s['student'] == 'half')
    assert half['points'] == 2 and half['exercises'][1]['message'] == 'AssertionError: 9 is not 6'
    assert record['reference'][0]['points'] == 5 and record['exit_status'] == 1
    assert inert('-1') == "'-1" and inert('anna') == 'anna'


# Submissions that misbehave

def hostile(neighbour):
    sleeper = ("import subprocess\nsubprocess.Popen(['python3', '-c', 'import time; "
               f"time.sleep(600)  # {WORD}'], start_new_session=True)")
    return {
        'hangs': 'while True: pass',
        'exits': 'import os\nos._exit(0)',
        'leaves': 'exit()',
        'orphans': sleeper,
        'parent': 'import os, signal\nos.kill(os.getppid(), signal.SIGKILL)',
        'greedy': 'piece = b"x" * 400_000_000\nimport time\ntime.sleep(60)',
        'talks': 'for i in range(50): print("x" * 1_000_000)',
        'file': 'with open("big", "wb") as f:\n    f.truncate(2_000_000_000)',
        'vandal': 'import shutil\nshutil.rmtree("../exp"); shutil.rmtree("../nbs", True)',
        'neighbour': f'import os\nos.remove({str(neighbour)!r})',
        'tests': 'test_eq = lambda a, b: None',
        'module': 'import exp.nb_00 as m\nm.test_eq = lambda a, b: None\ntest_eq = m.test_eq',
        'code': 'test_eq.__code__ = (lambda a, b: None).__code__',
        'edits': 'open("../exp/nb_00.py", "w").write("def test_eq(a, b): pass")\n'
                 'import importlib, exp.nb_00\nimportlib.reload(exp.nb_00)\n'
                 'from exp.nb_00 import *',
        'shadows': 'class Same(int):\n    __eq__ = lambda a, b: True\nint = Same\n'
                   'AssertionError = ValueError\ndef abs(x): return 0',
        'transforms': 'get_ipython().input_transformers_post.append(lambda lines: ["pass\\n"])',
        'guard': 'import sys\nfor k in list(vars(sys)):\n'
                 '    if len(k) == 17 and k[0] == "_": delattr(sys, k)',
    }


# What it does to its own points: the first exercise, then the second (whose answers are wrong for
# those that try to cheat).
EXPECTED = {
    'hangs': (0, 3, 'timed out: the cell took longer than 3 s'), 'leaves': (0, 3, 'asked its own'),
    'exits': (0, 3, 'crashed: the process ended itself with exit status 0'),
    'orphans': (2, 3, ''), 'parent': (0, 0, 'killed the process that runs it'),
    'greedy': (0, 3, 'out of memory: used'), 'talks': (2, 3, ''), 'file': (0, 3, 'File too large'),
    'vandal': (2, 3, ''), 'neighbour': (2, 3, ''), 'tests': (0, 0, '9 is not 8'),
    'module': (0, 0, '9 is not 8'), 'code': (0, 0, '9 is not 8'), 'edits': (0, 0, '9 is not 8'),
    'shadows': (0, 0, 'AssertionError: 9 is not 8'),
    'transforms': (0, 0, TAMPERED), 'guard': (0, 0, TAMPERED)}
CHEATS = 'tests', 'module', 'code', 'edits', 'shadows', 'transforms', 'guard'


@pytest.fixture(scope='module')
def misbehaving(tmp_path_factory):
    room = Room(tmp_path_factory.mktemp('hostile'))
    victim = room.hand_in('zz-victim')
    for student, source in hostile(victim).items():
        room.hand_in(student, after(source, WRONG if student in CHEATS else GOOD))
    room.hand_in('reads', after('import glob\nassert glob.glob("../nbs/*.ipynb") == '
                                '["../nbs/01_sizes.ipynb"] and "return 2 " "* x" not in '
                                'open("../nbs/01_sizes.ipynb").read()'))
    grades = room.grade(cell_timeout=3, mem_limit=.3)
    return grades, victim, room


@pytest.mark.parametrize('student', EXPECTED)
def test_costs_only_itself(misbehaving, student):
    first, second, message = EXPECTED[student]
    grades = misbehaving[0]
    assert points(grades)[student] == [first, second], said(grades, student)
    assert message in said(grades, student)[0], said(grades, student)


def test_the_others(misbehaving):
    grades, victim, room = misbehaving
    assert points(grades)['zz-victim'] == [2, 3] and points(grades)['reads'] == [2, 3]
    assert all(m['passed'] for s in grades.reference for m in s.marks)
    assert victim.exists() and json.loads(victim.read_text())['cells']
    assert [w for w in grades.warnings if str(victim) in w and 'put back' in w]
    assert (room.course.root / 'exp/nb_00.py').read_text() == HELPERS
    assert left_behind(WORD) == []


# Requests

def test_the_courses_own_answer_fails(tmp_path):
    room = Room(tmp_path)
    room.course.write('exp/nb_00.py', HELPERS + '    assert a != 6\n')
    room.course.add('01_sizes', '1 / 0', *room.course.read('01_sizes')['cells'])
    room.hand_in('anna')
    shown = []
    grades = room.grade()
    grading.tell(grades, shown.append)
    assert "the course's own answer to 01-ex2 does not pass here" in '\n'.join(shown)
    assert 'cell 1 of 01_sizes.ipynb raises here (ZeroDivisionError' in '\n'.join(shown)
    assert grades.exit_status == 1 and points(grades)['anna'] == [2, 0]


def test_nothing_to_grade(tmp_path):
    room = Room(tmp_path)
    with pytest.raises(CourseError, match='no such folder'):
        collect(tmp_path / 'nowhere', room.course.root)
    (tmp_path / 'submissions').mkdir()
    with pytest.raises(CourseError, match='holds no submission'):
        collect(tmp_path / 'submissions', room.course.root)


def test_no_other_notebook_travels_with_a_submission(tmp_path):
    "They hold the answers; nor does the one being graded."
    room = Room(tmp_path)
    room.hand_in('anna')
    plan = grading.ClassPlan(collect(room.folder, room.course.root), Options(), room.course.root)
    contents = grading.ClassFiles(plan).contents(plan.job('anna/01_sizes'))
    assert [n for n in contents if n.endswith('.ipynb')] == ['course/nbs/01_sizes.ipynb']
    assert 'course/exp/nb_00.py' in contents
    assert b'2 * x' not in contents['course/nbs/01_sizes.ipynb']


def test_links_are_not_followed(tmp_path):
    room = Room(tmp_path)
    path = room.hand_in('anna')
    (room.folder / 'bob').mkdir()
    (room.folder / 'bob' / path.name).symlink_to(path)
    assert [s.problem for s in collect(room.folder, room.course.root)] == [
        '', 'is a link, and those are not followed']


def test_command_line(tmp_path):
    room = Room(tmp_path)
    room.hand_in('anna')
    call = partial(subprocess.run, capture_output=True, text=True, cwd=room.course.root,
                   env={**os.environ, 'PYTHONPATH': str(Path(grading.__file__).parent.parent)})
    command = [sys.executable, '-m', 'coursekit.grading']
    done = call([*command, str(room.folder), '--csv', str(tmp_path / 'g.csv'), '--mem_limit', '2'])
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'anna/01_sizes: 5 of 5 points' in done.stdout
    head, anna = (tmp_path / 'g.csv').read_text().splitlines()
    assert head == 'student,points,max,01-ex1,01-ex2,note' and anna == 'anna,5,5,2,3,'
    bad = call([*command, str(room.folder), '--jobs', '0'])
    assert bad.returncode == 1
    assert bad.stderr == 'error: --jobs 0: a whole number above 0 is needed\n'
    assert '--scheduler HOST:PORT' in call([*command, '--help']).stdout
