"""Notebooks that misbehave: each gets the outcome it deserves, and no other notebook suffers."""
import hashlib
import os
import re
import secrets

import psutil
import pytest
from run_support import Course, left_behind, read_corpus

WORD = f'stray{secrets.token_hex(4)}'
SLEEPER = f"['python3', '-c', 'import time; time.sleep(600)  # {WORD}']"

HANGING = read_corpus('run_hanging', SLEEPER=SLEEPER)
OTHERS = read_corpus('run_hostile', SLEEPER=SLEEPER)


def build(root, corpus):
    course = Course(root)
    for name, (cells, _) in corpus.items():
        course.add(name, *cells)
    return course


def digests(course):
    return {p.name: (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns)
            for p in course.root.glob('nbs/*')}


@pytest.fixture(scope='module', params=['fork', 'kernel'])
def engine(request):
    return request.param


@pytest.fixture(scope='module')
def hanging(engine, tmp_path_factory):
    course = build(tmp_path_factory.mktemp('hanging'), HANGING)
    before = digests(course)
    outcome = course.run(engine=engine, cell_timeout=2, jobs=6)
    return outcome, before == digests(course)


@pytest.fixture(scope='module')
def others(engine, tmp_path_factory):
    course = build(tmp_path_factory.mktemp('others'), OTHERS)
    course.write('nbs/corrupt.ipynb', '{"cells": [')
    course.add('older', 'x = 2\nx * 21', minor=4)
    before = digests(course)
    outcome = course.run(engine=engine, mem_limit=.8, timeout=120, jobs=4)
    return outcome, before == digests(course)


def check(outcome, name, expected):
    wanted, cell, message = (*expected[1], '', '')[:3]
    result = outcome[f'{name}.ipynb']
    assert (result.outcome, str(result.cell or '')) == (wanted, cell), result.message
    assert re.search(message, result.message), result.message
    if not result.ok:
        story = outcome.stories[result.notebook]
        assert len(story) <= 25 and name in story[0] and not any('\x1b' in line for line in story)
        assert story[-1].strip().startswith('run again: python run_notebook.py ')


@pytest.mark.parametrize('name', HANGING)
def test_hanging(hanging, name):
    check(hanging[0], name, HANGING[name])


def test_hanging_tells_the_line(hanging):
    lines = {'loop': r'line [23]', 'sleep': 'line 2', 'deaf': r'line [34]', 'stubborn': 'line 4',
             'waiting': 'line 2'}
    for name, line in lines.items():
        story = hanging[0].stories[f'nbs/{name}.ipynb']
        assert re.search(f'it was at {line}', '\n'.join(story)), story


@pytest.mark.parametrize('name', OTHERS)
def test_others(others, name):
    check(others[0], name, OTHERS[name])


def test_corrupt_and_older(others):
    assert others[0]['corrupt.ipynb'].outcome == 'error'
    assert 'not valid JSON' in others[0]['corrupt.ipynb'].message
    assert others[0]['older.ipynb'].outcome == 'passed'


def test_output_is_capped_and_says_so(others):
    result = others[0]['talkative.ipynb']
    assert 'were not kept' in result.notes[0]
    assert 'were not kept' in others[0].shown


def test_segfault_tells_the_line(others):
    story = '\n'.join(others[0].stories['nbs/segfault.ipynb'])
    assert 'line 3' in story and 'ctypes.string_at(0)' in story


def test_sources_untouched(hanging, others):
    assert hanging[1] and others[1]


def test_exit_status(hanging, others):
    assert hanging[0].exit_status == 1 and others[0].exit_status == 1


def test_nothing_left(hanging, others):
    assert left_behind(WORD) == []
    mine = [
        p for p in psutil.Process(os.getpid()).children(recursive=True)
        if p.status() != psutil.STATUS_ZOMBIE
    ]
    assert mine == []
