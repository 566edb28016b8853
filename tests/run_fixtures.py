"""Fixtures for the tests of what is run, in what order and why."""
import pytest
from run_support import Course, FakePool

from coursekit import runner


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
