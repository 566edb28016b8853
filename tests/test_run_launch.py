"""The warm parent's early start: only where it will be needed, and nothing is left of it."""
import platform
import subprocess
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


FAULTS = """
import ctypes, resource
from coursekit.warm import keep_freed_memory
keep_freed_memory(ctypes.CDLL(None))

def some_memory():
    for _ in range(20):
        blocks = [bytearray(4_000_000) for _ in range(3)]
        del blocks

some_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
some_memory()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='mallopt is of glibc')
def test_freed_memory_is_used_again_without_page_faults():
    "Without `keep_freed_memory` there are tens of thousands of them."
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, '-c', FAULTS], cwd=root, capture_output=True, text=True)
    assert int(done.stdout) < 1000, done.stderr
