"""The warm parent's early start: only where it will be needed, and nothing is left of it."""
import sys
from pathlib import Path

import pytest

from coursekit import launch

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='the fork engine needs Linux')


@pytest.mark.parametrize('line', ['--help', '-h', '--engine kernel', '--engine=kernel', '--readme',
                                  'nbs --scheduler 127.0.0.1:1', '--scheduler=127.0.0.1:1'])
def test_not_where_it_is_not_needed(line, monkeypatch):
    monkeypatch.setattr(launch, 'launch', lambda: pytest.fail('started all the same'))
    launch.early(line.split())
    assert launch.waiting == []


@pytest.mark.parametrize('line', ['', 'nbs/01_x.ipynb --jobs 2', '--engine fork', '--changed'])
def test_where_it_is_needed(line, monkeypatch):
    started = []
    monkeypatch.setattr(launch, 'launch', lambda: started.append(1) or 'a parent')
    launch.early(line.split())
    assert launch.take() == 'a parent' and started == [1] and launch.waiting == []


def test_what_nobody_takes_is_ended():
    launch.early([])
    parent, = launch.waiting
    assert Path(parent.folder).is_dir() and parent.process.poll() is None
    launch.discard()
    assert not Path(parent.folder).exists() and parent.process.poll() is not None
    assert launch.waiting == []


def test_one_that_hears_nothing_ends_by_itself():
    "The runner may be killed while its parent is still getting ready."
    parent = launch.launch()
    parent.control.close()
    assert parent.process.wait(60) == 0
    parent.end()
