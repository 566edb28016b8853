"""--watch: exports on save, tells what is wrong, goes on, and stops when told to."""
import queue
import signal
import subprocess
import sys
import threading
import time

import pytest

from export_helpers import TOOL, Course


class Watch:
    "The watching command line, and the lines it prints as they come."

    def __init__(self, course, *args):
        self.process = subprocess.Popen([sys.executable, str(TOOL), '--watch', *map(str, args)],
                                        cwd=course.root, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        encoding='utf-8')
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line)

    def until(self, text, seconds=20):
        "The lines up to one that holds the text."
        seen, end = [], time.monotonic() + seconds
        while True:
            try:
                seen.append(self.lines.get(timeout=max(0.01, end - time.monotonic())))
            except queue.Empty:
                raise AssertionError(f'{text!r} did not come, but {seen}') from None
            if text in seen[-1]:
                return seen


@pytest.fixture
def course(tmp_path):
    c = Course(tmp_path)
    c.write('01_a', '#export\nx = 1')
    c.write('02_b', '#export\ny = 1')
    return c


@pytest.fixture
def watching(course):
    watch = Watch(course)
    yield watch
    watch.process.kill()
    watch.process.wait()
    watch.process.stderr.close()


@pytest.mark.skipif(sys.platform == 'win32', reason='sends SIGINT')
def test_watch_exports_what_is_saved_survives_errors_and_stops(course, watching):
    watching.until('watching all notebooks')
    assert 'x = 1' in course.text('01') and 'y = 1' in course.text('02')
    course.write('01_a', '#export\nx = 2')
    told = watching.until('exp/nb_01.py')
    assert not any('nb_02' in line for line in told) and 'x = 2' in course.text('01')
    course.write('01_a', '#export\nx = (')
    watching.until('01_a.ipynb cell 1 (#c1), line 2: syntax error')
    assert 'x = 2' in course.text('01')
    whole = course.nb('01_a').read_text().replace('x = (', 'x = 3')
    course.nb('01_a').write_text(whole[:len(whole) // 2])
    watching.until('is not valid JSON')
    course.nb('01_a').write_text(whole)
    watching.until('exp/nb_01.py')
    assert 'x = 3' in course.text('01')
    course.write('03_new', '#export\nz = 1')
    watching.until('exp/nb_03.py')
    course.nb('03_new').unlink()
    watching.until('03_new.ipynb is gone')
    watching.process.send_signal(signal.SIGINT)
    watching.until('stopped watching')
    assert watching.process.wait(10) == 0 and watching.process.stderr.read() == ''


def test_a_file_that_is_still_being_written_is_left_alone(course, monkeypatch):
    "A save that takes several pauses is exported once, when it is complete."
    from coursekit import export_watch
    text = course.nb('01_a').read_text().replace('x = 1', 'x = 5')
    cuts = [len(text) * i // 5 for i in range(6)]
    tried = []
    monkeypatch.setattr(export_watch, 'attempt', lambda paths, root,
                        force: tried.append([p.name for p in paths]))

    def pause(_, step=iter(range(20))):
        i = next(step)
        if i < 5:
            course.nb('01_a').write_text(text[:cuts[i + 1]])
        if i > 8:
            raise KeyboardInterrupt
    monkeypatch.setattr(export_watch.time, 'sleep', pause)
    export_watch.watch(root=course.root)
    assert tried == [[], ['01_a.ipynb']]


def test_watching_some_notebooks_only(course, monkeypatch, capsys):
    from coursekit import export_watch

    def pause(_, step=iter(range(20))):
        i = next(step)
        if i == 1:
            course.write('02_b', '#export\ny = 2')
            course.write('01_a', '#export\nx = 20')
        if i > 4:
            raise KeyboardInterrupt
    monkeypatch.setattr(export_watch.time, 'sleep', pause)
    monkeypatch.chdir(course.root)
    export_watch.watch(['nbs/01_a.ipynb'])
    out = capsys.readouterr().out
    assert 'x = 20' in course.text('01') and not course.module('02').exists()
    assert 'watching 1 notebook of' in out and out.endswith('stopped watching\n')
