"""Which cells are exported, and whether Python can read them: directives, magics, syntax.

The line that says `#export` is replaced by a marker in the module; every other character of the
cell is kept, blank lines above the directive included, so that line L of the cell is found L - 1
lines below its marker.
"""
from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from coursekit.notebook import Cell, Notebook

END = r'(?:\r\n|\n|\r)'
LINE_END = re.compile(END)
DIRECTIVE = re.compile(rf'((?:[^\S\r\n]*{END})*)([ \t]*#[ \t]*\|?[ \t]*export[ \t]*(?:{END}|\Z))',
                       re.IGNORECASE)
COMMENT = re.compile(r'#(\s*\|)?(\s*)(\S+)\s*(.*)')
WORDS = frozenset(('expert', 'exhort', 'extort'))  # English, though one letter from "export"
MAGIC = re.compile(r'''\s*(?: %%?[A-Za-z_]                          # %time, %%time
                            | !!?\S                                 # !ls
                            | \?\??[\w%*]                           # ?print
                            | %{0,2}[\w.*\[\]'"]+\?\??\s*(?:\#.*)?$ # print?
                            | [\w.,*\[\]\s'"]+=\s*[!%]\S            # files = !ls
                          )''', re.VERBOSE)
PYTHON_CELL_MAGIC = re.compile(r'\s*%%(?:time|timeit|capture|prun)\b')


@dataclass
class Block:
    """An export cell: the `text` that goes into the module, and the `directive` line that does not.

    `above` are the blank lines above the directive; `text` begins with them.
    """
    cell: Cell
    above: str
    directive: str
    text: str
    tree: ast.Module | None = None

    def line(self, line: int | None) -> int | None:
        "The line of the cell, counted from 1, that holds this line of `text`."
        above = len(LINE_END.findall(self.above))
        return line + 1 if line is not None and line > above else line

    def problem(self, line: int | None, message: str) -> 'Problem':
        return Problem(self.cell, self.line(line), message)


@dataclass
class Problem:
    """Something the author has to mend, at a line of a cell."""
    cell: Cell
    line: int | None
    message: str

    def told(self, notebook: Notebook) -> str:
        return f'{self.cell.where(notebook, self.line)}: {self.message}'

    def place(self) -> tuple:
        return self.cell.number, self.line or 0


def block(cell: Cell) -> Block | None:
    "The cell as a `Block`, or None where its first line that is not blank is no `#export`."
    m = cell.kind == 'code' and DIRECTIVE.match(cell.source)
    if not m:
        return None
    above, directive = m.groups()
    return Block(cell, above, directive, above + cell.source[m.end():])


# ---- directives that were meant but missed

def near_miss(cell: Cell) -> Problem | None:
    "What is wrong with a code cell that seems to be meant for export but does not say `#export`."
    if (cell.kind != 'code' or not cell.source.lstrip().startswith(('#', '%', '!'))
            or DIRECTIVE.match(cell.source)):
        return None
    lines = LINE_END.split(cell.source)
    first = next(i for i, line in enumerate(lines) if line.strip())
    if message := misspelt(lines[first].strip()):
        return Problem(cell, first + 1, message)
    for i, line in enumerate(lines[first:], first + 1):
        if DIRECTIVE.match(line) and line.strip():
            return Problem(cell, i, f'`{line.strip()}` is not the first line of its cell, so the '
                                    'cell is not exported: move it up, or reword the comment')
        if not line.strip() or line.lstrip().startswith('#') or PYTHON_CELL_MAGIC.match(line):
            continue
        if line.lstrip().startswith('%%') or not line.lstrip().startswith(('%', '!')):
            return None
    return None


def misspelt(line: str) -> str | None:
    """A message for a comment that was meant to say `#export`, None for any other.

    The line is drawn so that prose is left alone. A comment of several words is prose, unless it
    has the bar of `#|export`, or is `#export` with one word stuck to it, or with a second
    comment. A comment of one word is a misspelling when it is one slip of the finger away from
    "export" (two after a bar) and no English word. `##export` is a directive that was switched
    off.
    """
    m = COMMENT.fullmatch(line)
    if not m or m[3].startswith('#'):
        return None
    bar, space, word, rest = m.groups()
    bare = word.strip('!"$%&\'()*+,-./:;<=>?@[\\]^_`{|}~').lower()
    if bare == 'export' and (bar or rest.startswith('#') or not rest):
        return f'`{line}`: write `#export` alone on its line'
    if bare == 'export' and not space and len(rest.split()) == 1 and word.lower() == 'export':
        return (f'`{line}`: `#export` takes no argument, a chapter has one module; if this is a '
                'comment, put a space after the #')
    if rest and not bar or bare == 'export':
        return None
    meant = slips(bare, 'export') <= (2 if bar else 1) or sorted(bare) == sorted('export')
    if meant and (bar or bare not in WORDS) or re.match(r'export(?:[^a-z]|$)', bare) or (
            bar and bare.startswith('export')):
        return f'`{line}`: did you mean `#export`? If it is a comment, say it in more than one word'
    return None


def slips(word: str, target: str) -> int:
    "How many letters are missing, extra, wrong or swapped with their neighbour (3: three or more)."
    if abs(len(word) - len(target)) > 2:
        return 3
    rows = [list(range(len(target) + 1))]
    for i, a in enumerate(word, 1):
        row = [i]
        for j, b in enumerate(target, 1):
            cost = min(row[j - 1] + 1, rows[-1][j] + 1, rows[-1][j - 1] + (a != b))
            if i > 1 and j > 1 and a == target[j - 2] and word[i - 2] == b:
                cost = min(cost, rows[-2][j - 2] + 1)
            row.append(cost)
        rows.append(row)
    return min(3, rows[-1][-1])


# ---- reading a block as Python

def read(block: Block) -> list[Problem]:
    "Parse a block into its `tree`; what Python cannot read is told, each magic line by itself."
    text, problems = block.text, []
    while True:
        try:
            tree = ast.parse(text)
        except SyntaxError as e:
            without = without_magic(text, e)
            if without is None:
                return problems + [syntax_problem(block, e)]
            problems.append(magic_problem(block, e.lineno))
            text = without
        except UnicodeEncodeError:
            message = 'holds half of a surrogate pair, which no file can: retype the character'
            return problems + [block.problem(None, message)]
        except (ValueError, RecursionError, MemoryError) as e:
            return problems + [block.problem(None, f'Python cannot read it: {e}')]
        else:
            block.tree = None if problems else tree
            return problems


def without_magic(text: str, error: SyntaxError) -> str | None:
    "The text without the magic that `error` stumbled over; None where no magic is to blame."
    lines = re.split(f'({END})', text)
    at = 2 * ((error.lineno or 1) - 1)
    if at >= len(lines) or not MAGIC.match(lines[at]):
        return None
    indent = re.match(r'\s*', lines[at])[0]
    lines[at], more = indent + 'pass', lines[at].endswith('\\')
    while more and at + 2 < len(lines):
        at += 2
        lines[at], more = '', lines[at].endswith('\\')
    without = ''.join(lines)
    try:
        ast.parse(without)
    except SyntaxError as e:
        return without if (e.lineno or 0) > error.lineno else None
    return without


def magic_problem(block: Block, line: int) -> Problem:
    shown = LINE_END.split(block.text)[line - 1].strip()
    return block.problem(line, f'`{shown}` is IPython, not Python, and cannot be exported: move it '
                               'to a cell of its own')


def syntax_problem(block: Block, error: SyntaxError) -> Problem:
    lines = LINE_END.split(block.text)
    at = error.lineno
    message = f'syntax error: {error.msg}'
    if error.msg and ("'await'" in error.msg or 'asynchronous' in error.msg
                      or "'async " in error.msg):
        message += ('; a notebook may await at its top level, a module may not: put it into an '
                    'async function')
    if at and at <= len(lines) and lines[at - 1].strip():
        message += f'\n    {lines[at - 1].strip()[:90]}'
    return block.problem(at, message)


def compiles(block: Block) -> Problem | None:
    "What the compiler, unlike the parser, refuses: `return` outside a function and the like."
    try:
        compile(block.tree, '<cell>', 'exec', dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError) as e:
        if isinstance(e, SyntaxError):
            return syntax_problem(block, e)
        return block.problem(None, str(e))
    return None
