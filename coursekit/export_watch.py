"""Exporting again whenever a notebook is saved."""
from __future__ import annotations

import time
from pathlib import Path

from coursekit.export import export
from coursekit.export_plan import ExportError, located
from coursekit.notebook import CourseError, course_notebooks, find_root

PAUSE = 0.3


def watch(paths=(), root=None, force=False, pause: float = PAUSE, **others) -> None:
    """Export, then export again each notebook that is saved, until Ctrl-C.

    Problems are shown, and the watch goes on. A file is read once it stayed the same for one
    pause, so that one being written is left to its editor.
    """
    if any(others.values()):
        raise ExportError('--watch exports what is saved; of the other options only --root and '
                          '--force go with it')
    paths = [Path(p).absolute() for p in paths]
    root = find_root(paths[0].parent if paths else None, root)
    paths = [located(p, root) for p in paths]
    try:
        done = stamps(paths, root)  # before the first export: what is saved during it counts as new
        attempt(paths, root, force)
        say(f'watching {len(paths) or "all"} notebook{"s" * (len(paths) != 1)} of {root / "nbs"}; '
            'Ctrl-C stops')
        keep_watching(paths, root, force, pause, done)
    except KeyboardInterrupt:
        say('\nstopped watching')


def keep_watching(paths: list[Path], root: Path, force: bool, pause: float, done: dict) -> None:
    "Export what changed since `done`, for ever."
    seen = done
    while True:
        time.sleep(pause)
        now = stamps(paths, root)
        ready = [p for p, s in now.items() if s == seen.get(p) and s != done.get(p)]
        if ready:
            attempt(ready, root, force)
        for path in done.keys() - now.keys():
            say(f'{path.name} is gone; notebook2script.py --prune removes its module')
        done = {p: s if p in ready else done.get(p) for p, s in now.items()}
        seen = now


def stamps(paths: list[Path], root: Path) -> dict[Path, tuple]:
    "When each notebook was last written, and its size."
    found = {}
    for path in paths or course_notebooks(root):
        try:
            stat = path.stat()
        except OSError:
            continue
        found[path] = stat.st_mtime_ns, stat.st_size, stat.st_ino
    return found


def attempt(paths, root: Path, force: bool) -> None:
    "Export and tell, whatever comes of it."
    try:
        say(f'{time.strftime("%H:%M:%S")}\n{export(paths, root, force=force)}')
    except CourseError as e:
        say(f'{time.strftime("%H:%M:%S")} not exported:\n{e}')
    except OSError as e:
        say(f'not exported: {e}')


def say(text: str) -> None:
    print(text, flush=True)
