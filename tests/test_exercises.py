"""Exercises: the course's own are sound, stubs are caught, and a student's copy is told how it did."""
import json
import re
from pathlib import Path

import pytest
from run_support import Course, code

from coursekit.exercises import exercises, leaks, student_copy, stub, with_stubs, write_edition
from coursekit.notebook import CourseError, load
from run_notebook import run_notebook

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / 'nbs').glob('*.ipynb'))
SOLUTION = """def double(x):
    "Twice x."
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION"""
STUBBED = """def double(x):
    "Twice x."
    # YOUR CODE HERE
    raise NotImplementedError()"""
TEST = 'assert double(3) == 6'


def solution(source=SOLUTION, name='01-ex1'):
    return code(source, id=name, metadata={'nbgrader': {
        'grade': False, 'grade_id': name, 'locked': False, 'schema_version': 3, 'solution': True}})


def test_cell(source=TEST, points=2, name='01-ex1-test'):
    return code(source, id=name, metadata={'nbgrader': {
        'grade': True, 'grade_id': name, 'locked': True, 'points': points, 'schema_version': 3,
        'solution': False}})


test_cell.__test__ = False


def course(tmp_path, *cells, name='01_x'):
    made = Course(tmp_path)
    made.add(name, *cells)
    return made, Path(tmp_path) / 'nbs' / f'{name}.ipynb'


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
def test_every_chapter_has_exercises_that_stand_alone(path):
    notebook = load(path)
    found = exercises(notebook)
    assert 3 <= len(found) <= 5, 'three to five exercises'
    assert leaks(notebook) == []
    number = path.name.split('_')[0]
    assert all(e.name.startswith(f'{number}-ex') for e in found)


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
def test_every_exercise_has_a_hint_that_folds_out(path):
    notebook = load(path)
    hint = re.compile(r'<details><summary>Hint</summary>\s*\S.*?</details>', re.S)
    for exercise in exercises(notebook):
        before = notebook.cells[:exercise.solution.number - 1]
        statement = next(c for c in reversed(before) if c.kind == 'markdown')
        last = re.split(r'^(?:#+ |\*\*\d+\.)', statement.source, flags=re.M)[-1]
        assert hint.search(last), f'{path.name}: the statement of {exercise.name} has no hint'


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
def test_markdown_in_folds_is_rendered(path):
    for cell in (c for c in load(path).cells if c.kind == 'markdown'):
        assert not re.search(r'</summary>[ \t]*\n?[ \t]*\S', cell.source), (
            f'{path.name} #{cell.id}: without an empty line after </summary> what follows is taken for HTML, '
            'and its Markdown and mathematics are shown as they are typed')


def test_stub_keeps_what_is_around_the_solution():
    assert stub(SOLUTION) == STUBBED
    assert stub(f'{SOLUTION}\n\n{SOLUTION}').count('raise NotImplementedError()') == 2


@pytest.mark.parametrize('cells, why', [
    ([solution(SOLUTION.replace('### END SOLUTION', '')), test_cell()], 'stands between'),
    ([solution('def double(x):\n    return 2 * x'), test_cell()], 'stands between'),
    ([solution(SOLUTION.replace('BEGIN', 'END')), test_cell()], 'do not match'),
    ([solution(SOLUTION + '\n### END SOLUTION'), test_cell()], 'do not match'),
    ([solution()], 'the cell after it must be its test'),
    ([solution(), 'x = 1', test_cell()], 'the cell after it must be its test'),
    ([test_cell()], 'no solution comes before it'),
    ([solution(), test_cell(points=0)], 'a number above 0 is needed'),
    ([SOLUTION, test_cell()], 'metadata does not say so'),
    ([solution(), test_cell(), {**solution(), 'id': 'again'}, test_cell(name='t')], 'as another'),
])
def test_faulty_exercise_is_refused_by_cell(tmp_path, cells, why):
    _, path = course(tmp_path, *cells)
    with pytest.raises(CourseError, match=f'01_x.ipynb cell \\d.*{why}'):
        exercises(load(path))


def test_leaks_are_named(tmp_path):
    _, path = course(tmp_path, 'y = 1', solution(), test_cell(), 'double(y)')
    assert leaks(load(path)) == ['01_x.ipynb cell 4 (#id4): uses double of 01-ex1']
    _, path = course(tmp_path, 'def double(x): ...', solution(), test_cell(), 'double(1)')
    assert leaks(load(path)) == []  # there is another one to use


@pytest.mark.parametrize('engine', ['fork', 'kernel'])
def test_a_stub_that_passes_its_test_fails_the_run(tmp_path, engine):
    weak = test_cell('assert callable(double)')
    made, path = course(tmp_path, solution(), test_cell(), '"end"')
    made.add('02_weak', solution(name='02-ex1'), {**weak, 'id': 'weak'})
    before = path.read_bytes()
    outcome = made.run(exercises=True, engine=engine)
    good, bad = outcome['01_x.ipynb'], outcome['02_weak.ipynb']
    assert good.outcome == 'passed' and outcome.exit_status == 1
    assert (bad.outcome, bad.cell) == ('failed', 4) and 'raised nothing' in bad.message
    assert '#weak-stub' in outcome.stories['nbs/02_weak.ipynb'][0]
    assert path.read_bytes() == before


def test_a_stub_in_the_body_of_a_class_is_caught(tmp_path):
    made, _ = course(tmp_path, solution('class A:\n    ### BEGIN SOLUTION\n    x = 1\n    ### END SOLUTION'),
                     test_cell('assert A.x == 1'))
    assert made.run(exercises=True).exit_status == 0


def test_stubs_change_nothing_for_changed(tmp_path):
    made, _ = course(tmp_path, solution(), test_cell())
    assert made.run(exercises=True).exit_status == 0
    assert made.run(changed=True).results[0].outcome == 'skipped'


def test_stubs_are_not_saved(tmp_path):
    made, _ = course(tmp_path, solution(), test_cell())
    with pytest.raises(CourseError, match='one or the other'):
        made.run(exercises=True, inplace=True)


def test_with_stubs_leaves_the_cells_in_their_places(tmp_path):
    _, path = course(tmp_path, 'x = 1', solution(), test_cell(), 'x')
    notebook = load(path)
    longer = with_stubs(notebook)
    assert [c.source for c in longer.cells[:4]] == [c.source for c in notebook.cells]
    assert [c.tags for c in longer.cells[4:]] == [['may-raise'], ['raises-exception']]
    assert STUBBED in longer.cells[4].source and len({c.id for c in longer.cells}) == 6


def test_student_copy_holds_no_solution(tmp_path):
    shown = [{'output_type': 'stream', 'name': 'stdout', 'text': ['6\n']}]
    _, path = course(tmp_path, {**code('print(6)'), 'outputs': shown}, {**solution(), 'outputs': shown},
                     {**test_cell(), 'outputs': shown},
                     'from notebook2script import notebook2script\nnotebook2script("01_x.ipynb")')
    raw = student_copy(load(path))
    assert [''.join(c['source']) for c in raw['cells']] == ['print(6)', STUBBED, TEST]
    assert [c['outputs'] for c in raw['cells']] == [shown, [], []]
    files, kept = write_edition(tmp_path, tmp_path / 'student')
    assert json.loads(files[0].read_text()) == raw
    with pytest.raises(CourseError, match='holds the solutions'):
        write_edition(tmp_path, tmp_path / 'nbs')


def test_no_chapters_copy_shows_an_answer():
    for path in NOTEBOOKS:
        text = json.dumps(student_copy(load(path)))
        assert 'BEGIN SOLUTION' not in text and text.count('YOUR CODE HERE') >= 3, path.name


def test_faulty_exercise_leaves_the_edition_as_it_was(tmp_path):
    made, _ = course(tmp_path, solution(), test_cell())
    made.add('02_y', solution(name='02-ex1'))
    with pytest.raises(CourseError):
        write_edition(tmp_path, tmp_path / 'student')
    assert not (tmp_path / 'student').exists()


def test_what_a_student_wrote_is_kept(tmp_path):
    "A new edition replaces copies that were only run, and keeps those that were worked in."
    course = Course(tmp_path)
    for name in ('01_x', '02_y', '03_z'):
        course.add(name, solution(), test_cell())
    out = tmp_path / 'student'
    assert [len(files) for files in write_edition(tmp_path, out)] == [3, 0]
    run, solved, broken = (out / f'{n}.ipynb' for n in ('01_x', '02_y', '03_z'))
    raw = json.loads(run.read_text())
    raw['cells'][-1]['execution_count'], raw['metadata']['kernelspec'] = 7, {'name': 'python3'}
    run.write_text(json.dumps(raw))
    raw = json.loads(solved.read_text())
    raw['cells'].append({'cell_type': 'markdown', 'id': 'mine', 'metadata': {}, 'source': 'my notes'})
    solved.write_text(json.dumps(raw))
    broken.write_text('half a no')
    before = solved.read_bytes()
    written, kept = write_edition(tmp_path, out)
    assert written == [run] and kept == [solved, broken] and solved.read_bytes() == before
    assert json.loads(run.read_text())['cells'][-1]['execution_count'] is None
    assert write_edition(tmp_path, out, force=True)[1] == [] and 'my notes' not in solved.read_text()


@pytest.mark.parametrize('engine', ['fork', 'kernel'])
def test_students_exercises_are_reported_one_by_one(tmp_path, engine):
    made, path = course(
        tmp_path, solution(), test_cell(), solution(SOLUTION.replace('double', 'twice'), '01-ex2'),
        test_cell('assert twice(2) == 4, "two and two"', 3, '01-ex2-test'), '"the end"')
    write_edition(tmp_path, tmp_path / 'student')
    copy = tmp_path / 'student' / '01_x.ipynb'
    text = copy.read_text().replace(json.dumps('    raise NotImplementedError()')[1:-1], '    return x + 2')
    copy.write_text(text)  # right for 2 and wrong for 3
    shown = []
    outcome = run_notebook(str(copy), exercises=True, engine=engine, root=tmp_path, show=shown.append,
                           json=str(tmp_path / 'r.json'))
    first, second = outcome.results[0].exercises
    assert outcome.results[0].outcome == 'passed' and outcome.exit_status == 1
    assert (first['passed'], first['message']) == (False, 'AssertionError')
    assert (second['exercise'], second['passed'], second['points']) == ('01-ex2', True, 3)
    assert '3 of 5 points' in '\n'.join(shown)
    record = json.loads((tmp_path / 'r.json').read_text())
    assert record['notebooks'][0]['exercises'] == [first, second]


def test_exercises_behind_a_failure_are_not_reached(tmp_path):
    made, path = course(tmp_path, solution(), test_cell(), '1 / 0',
                        solution(name='01-ex2'), test_cell(name='01-ex2-test'))
    write_edition(tmp_path, tmp_path / 'student')
    outcome = run_notebook(str(tmp_path / 'student'), exercises=True, root=tmp_path, show=lambda *a: None)
    first, second = outcome.results[0].exercises
    assert first['message'] == 'NotImplementedError'
    assert second['message'].startswith('not reached: ZeroDivisionError')
