"""Writing files so that a reader sees the old text or the new one, never half of either."""
from __future__ import annotations

import os
from pathlib import Path

from coursekit.notebook import CourseError


def read_text(path) -> str | None:
    "A file's text, line ends as they are; None where there is no such file."
    try:
        return Path(path).read_bytes().decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as e:
        raise CourseError(f'{path}: is not UTF-8 text (byte {e.start})') from None


def write_all(texts: dict) -> None:
    "Write `{path: text}`: all new files are complete on disk before the first takes its place."
    ready = []
    try:
        for path, text in texts.items():
            path = Path(path)
            path.parent.mkdir(exist_ok=True)
            temp = path.with_name(f'.{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp')
            ready.append((temp, path))
            temp.write_bytes(text.encode())
            if path.exists():
                temp.chmod(path.stat().st_mode & 0o777)
        for temp, path in ready:
            os.replace(temp, path)
    finally:
        for temp, _ in ready:
            temp.unlink(missing_ok=True)
