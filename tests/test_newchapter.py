"""`make chapter`: a template that passes at once, and requests that are refused."""
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from run_support import Course

from coursekit.exercises import exercises, leaks
from coursekit.newchapter import filled, new_chapter, slug
from coursekit.notebook import CourseError, load
from notebook2script import notebook2script

ROOT = Path(__file__).parent.parent


@pytest.fixture
def course(tmp_path):
    made = Course(tmp_path)
    shutil.copy(ROOT / 'exp' / 'nb_00.py', tmp_path / 'exp')
    return made


def test_the_template_passes_and_its_exercises_are_sound(course):
    path = new_chapter('12', 'Text & speech: “tokens”', course.root)
    assert path == course.root / 'nbs' / '12_text_speech_tokens.ipynb'
    notebook = load(path)
    assert notebook.title == 'Text & speech: “tokens”' and len(exercises(notebook)) == 3
    assert leaks(notebook) == []
    assert 'example_text_speech_tokens' in (course.root / 'exp/nb_12.py').read_text()
    outcome = course.run('nbs/12_text_speech_tokens.ipynb', exercises=True)
    assert outcome.exit_status == 0, outcome.shown
    assert len(outcome.results[0].claims) == 1
    notebook2script(path, root=course.root, check=True)


@pytest.mark.parametrize('title', ["It's a \\ {brace} \"test\"", '3D', 'Größe', 'a' * 60])
def test_any_title_makes_a_notebook_that_exports(course, title):
    path = new_chapter('12a', title, course.root)
    assert load(path).title == title and (course.root / 'exp/nb_12a.py').exists()
    for cell in load(path).cells:
        if cell.kind == 'code' and not cell.source.startswith('%'):
            compile(cell.source, 'cell', 'exec')


@pytest.mark.parametrize('number, title, why', [
    ('12', 'New', r'NUMBER=12: is taken by nbs/12_text.ipynb'),
    ('1', 'New', 'two digits are needed'), ('123', 'New', 'two digits'), ('12B', 'New', 'two digits'),
    ('../x', 'New', 'two digits'), ('13', '***', 'letters or digits'), ('13', 'x' * 61, 'up to 60')])
def test_refused(course, number, title, why):
    course.add('12_text', '1')
    before = sorted(course.root.rglob('*'))
    with pytest.raises(CourseError, match=why):
        new_chapter(number, title, course.root)
    assert sorted(course.root.rglob('*')) == before


def test_a_course_that_cannot_be_exported_gets_no_half_chapter(course):
    course.add('01_x', '#export\nexample_text = 1')
    course.write('exp/nb_01.py', '')
    notebook2script(root=course.root)
    with pytest.raises(CourseError, match='example_text'):
        new_chapter('12', 'Text', course.root)
    assert not (course.root / 'nbs/12_text.ipynb').exists()


def test_command_line(course):
    command = [sys.executable, '-m', 'coursekit.newchapter']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and 'make chapter NUMBER=12 TITLE="Text"' in done.stderr
    assert slug('A b') == 'a_b' and filled('12', 'A b', 'x')['nbformat'] == 4
