"""The instructor's page: its table is true, its commands exist, its CI files can be read."""
import re
import shlex
from pathlib import Path

import pytest
import yaml

import run_notebook as front
from coursekit import chapters, grading
from coursekit.notebook import CourseError
from coursekit.plan import Options, Plan
from notebook2script import notebook2script
from run_support import Course

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / chapters.PAGE).read_text(encoding='utf-8')
BLOCKS = re.findall(r'^```(\w*)\n(.*?)^```', PAGE, re.M | re.S)


def commands(name):
    "Every call of a program on the page, as lists of words."
    text = '\n'.join(body.replace('\\\n', ' ') for _, body in BLOCKS)
    prose = re.sub(r'^```.*?^```', '', PAGE, flags=re.M | re.S)
    text += '\n'.join(re.findall(r'`([^`\n]+)`', prose))
    return [shlex.split(m) for m in re.findall(rf'{re.escape(name)}[ \n]([^\n]*)', text + '\n')]


def test_the_table_is_up_to_date():
    assert chapters.page_with(PAGE, ROOT) == PAGE, 'run: python -m coursekit.chapters'


def test_runners_options_exist():
    found = commands('run_notebook.py')
    assert len(found) > 8
    for words in found:
        front.arguments([w for w in words if w.startswith('--')])


def test_patterns_of_only_match_chapters():
    patterns = [words[words.index('--only') + 1] for words in commands('run_notebook.py')
                if '--only' in words]
    assert len(patterns) == 2
    for pattern in patterns:
        for part in pattern.split(','):
            Plan([ROOT / 'nbs'], Options(only=(part,)), ROOT)


def test_graders_options_exist():
    found = [words for words in commands('coursekit.grading') if 'submissions' in words[0]]
    assert len(found) == 3
    for words in found:
        grading.parser().parse_args(words)


def test_what_the_page_says_can_be_left_out_can():
    (words,) = [w for w in commands('coursekit.chapters') if w and '--without' in w[0]][:1]
    assert chapters.missing(words[1].split(','), chapters.chapters(ROOT)) == {}


def test_ci_files():
    github, gitlab = (yaml.safe_load(body) for kind, body in BLOCKS if kind == 'yaml')
    steps = github['jobs']['notebooks']['steps']
    assert all(('uses' in step) != ('run' in step) for step in steps)
    on = github[True]  # YAML 1.1 reads `on` as true
    assert on.keys() == {'push', 'pull_request', 'schedule'}
    assert gitlab['notebooks']['artifacts']['reports'] == {'junit': 'results.xml'}
    assert sum('--junit results.xml' in str(s.get('run')) for s in steps) == 3


@pytest.fixture
def course(tmp_path):
    course = Course(tmp_path)
    course.add('01_one', '#export\nx = 1', course={'title': 'The first'})
    course.add('02_two', '#export\nfrom exp.nb_01 import x\ny = x')
    course.add('03_three', 'from exp.nb_02 import y')
    notebook2script(root=tmp_path)
    return course


def test_who_needs_whom(course):
    first, second, third = chapters.chapters(course.root)
    assert first.title == 'The first' and first.users == ['02', '03'] and first.direct == []
    assert third.direct == ['02'] and second.users == ['03']
    assert chapters.missing(['01', '03'], [first, second, third]) == {'01': ['02']}
    assert chapters.missing(['02', '03'], [first, second, third]) == {}
    with pytest.raises(CourseError, match='--without 07: there is no such chapter'):
        chapters.missing(['07'], [first, second, third])
    assert '| 03 · 03_three |' not in chapters.table([first, second, third])


def test_the_page_needs_a_place_for_the_table(course):
    with pytest.raises(CourseError, match='stands between'):
        chapters.page_with('no place', course.root)
    text = chapters.page_with(f'a\n{chapters.BEGIN}\nold\n{chapters.END}\nb', course.root)
    assert text.startswith('a\n') and text.endswith('\nb') and 'old' not in text
    assert '| 02 · two | – | – | 0 (0 points) | 01 | 03 |' in text
