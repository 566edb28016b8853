"""Where an exception came from: seen in the notebook's process, and told in the runner."""
from __future__ import annotations

import re
import sys
import traceback
from pathlib import Path

KEEP = 12  # frames kept from the inner end; a recursion has a thousand


def last(ename: str) -> list[dict]:
    "The frames of the exception that this process showed last, if its type is named `ename`."
    exc = getattr(sys, 'last_value', None)  # a misspelt magic, for one, leaves no trace there
    return describe(exc) if type(exc).__name__ == ename else []


def describe(exc: BaseException) -> list[dict]:
    "An exception's frames from the notebook's cell on: file, line, columns, function, source."
    frames = [frame(f) for f in traceback.extract_tb(exc.__traceback__)]
    cells = [i for i, f in enumerate(frames) if is_cell(f['file'])]
    frames = frames[cells[0]:] if cells else frames
    if isinstance(exc, SyntaxError) and exc.filename and exc.lineno:
        frames = [f for f in frames if is_cell(f['file'])] if not cells else frames
        start, end = (exc.offset or 1) - 1, (exc.end_offset or 0) - 1
        frames.append({'file': exc.filename, 'line': exc.lineno, 'func': '', 'col': start,
                       'end_col': max(end, start + 1), 'source': (exc.text or '').rstrip()})
    return frames[:1] + frames[1:][-KEEP:]


def is_cell(file: str) -> bool:
    "Is this the name ipykernel gives a cell's source?"
    return 'ipykernel_' in file


def frame(f) -> dict:
    "One FrameSummary as plain data; columns count characters and exist from Python 3.11 on."
    raw = getattr(f, '_original_line', None) or getattr(f, '_original_lines', None) or f.line
    line = (raw or '').split('\n')[0].rstrip()
    col = chars(line, f.colno) if f.colno is not None else None
    single = f.end_lineno == f.lineno
    end = chars(line, f.end_colno) if single and f.end_colno is not None else len(line)
    return {'file': f.filename, 'line': f.lineno, 'func': f.name, 'source': line,
            'col': col, 'end_col': end}


def chars(line: str, offset: int) -> int:
    "A byte offset as a number of characters."
    return len(line.encode()[:offset].decode('utf-8', 'replace'))


# In the runner


class Locator:
    "Tells which cell of which notebook a frame's file and line are."

    def __init__(self, sources: dict[int, str], root):
        from ipykernel.compiler import get_file_name
        self.root = Path(root)
        self.cells = {}
        for number, source in sources.items():
            self.cells.setdefault(Path(get_file_name(source)).name, []).append(number)

    def cell(self, file: str, current: int | None = None) -> int | None:
        "The number of the cell with this file name; of several with one text, the current one."
        numbers = self.cells.get(Path(file).name, ()) if is_cell(file) else ()
        return current if current in numbers else next(iter(numbers), None)

    def origin(self, file: str, line: int) -> str:
        "The notebook cell that a line of a generated module comes from; '' for other files."
        path = Path(file)
        if path.parent != self.root / 'exp' or not path.is_file():
            return ''
        for number in range(line, 0, -1):
            text = path.read_text(encoding='utf-8').split('\n')[number - 1]
            if m := re.match(r'# %% (\S+\.ipynb) cell (\d+)', text):
                return f'{m[1]} cell {m[2]}, line {line - number + 1}'
        return ''


DUMPED = re.compile(r'^\s*File "([^"]+)", line (\d+) in (.+)$', re.M)


def from_dump(text: str) -> list[dict]:
    "The frames that faulthandler wrote for the thread that crashed, innermost last."
    _, found, stack = text.rpartition('Current thread')
    if not found:
        return []
    frames = [{'file': m[1], 'line': int(m[2]), 'func': m[3], 'source': '', 'col': None,
               'end_col': None} for m in DUMPED.finditer(stack.split('\n\n')[0])]
    cells = [i for i, f in enumerate(frames) if is_cell(f['file'])]
    return frames[:cells[-1] + 1][::-1] if cells else []
