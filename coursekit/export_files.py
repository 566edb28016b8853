"""Reading and writing files so that nobody ever sees half of one."""
from __future__ import annotations

import os
import re
import time
from pathlib import Path

from coursekit.export_module import plain
from coursekit.notebook import CourseError

LEFTOVER = re.compile(r'\..+\.\d+-[0-9a-f]{8}\.tmp')


def read_text(path) -> str | None:
    "A file's text, line ends as they are; None where there is no such file."
    try:
        return Path(path).read_bytes().decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as e:
        raise CourseError(f'{path}: is not UTF-8 text (byte {e.start})') from None


def same_text(old: str | None, new: str) -> bool:
    "Does a file hold this text already, but perhaps for line ends that git translated?"
    return old is not None and (old == new or plain(old) == new)


def write_all(texts: dict) -> None:
    """Write `{path: text}`, all or nothing.

    Every new file is complete beside its place before the first is moved there, each in one step.
    Should a move fail, those made before it are taken back.
    """
    ready, done = [], []
    try:
        for path, text in texts.items():
            path = Path(os.path.realpath(path))  # a link stays one
            ready.append((prepared(path, text.encode()), path))
        for temp, path in ready:
            old = path.read_bytes() if path.exists() else None
            os.replace(temp, path)
            done.append((path, old))
    except OSError as e:
        for path, old in reversed(done):
            path.unlink() if old is None else os.replace(prepared(path, old), path)
        raise CourseError(f'{e.filename2 or e.filename}: could not be written ({e.strerror}); '
                          'nothing was changed'
                          ) from None
    finally:
        for temp, _ in ready:
            temp.unlink(missing_ok=True)
    for folder in {path.parent for path, _ in done}:
        sweep(folder)


def sweep(folder: Path) -> None:
    "Remove what processes killed in the middle of writing have left, if older than a minute."
    for path in folder.glob('.*.tmp'):
        try:
            if LEFTOVER.fullmatch(path.name) and path.stat().st_mtime < time.time() - 60:
                path.unlink()
        except FileNotFoundError:
            pass  # its owner was alive, and has just moved it to its place


def prepared(path: Path, data: bytes) -> Path:
    "A new file beside `path` with the data; mode and time suit the file it will replace."
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_name(f'.{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp')
    try:
        temp.write_bytes(data)
        if path.exists():
            old = path.stat()
            temp.chmod(old.st_mode & 0o777)
            if old.st_size == len(data):
                later(temp, old.st_mtime_ns)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
    return temp


def later(path: Path, than: int) -> None:
    """Give a file a time in a later second than its predecessor's: Python recognises a compiled
    module by its source's size and whole seconds, and would go on using the old one."""
    now, second = path.stat().st_mtime_ns, 10 ** 9
    if now // second <= than // second:
        os.utime(path, ns=(now, (than // second + 1) * second))
