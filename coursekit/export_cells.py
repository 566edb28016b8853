"""Which cells are exported, and whether Python can read them: directives, magics, syntax.

The line that says `#export` is replaced by a marker in the module; every other character of the
cell is kept, blank lines above the directive included, so that line L of the cell is the line
L - 1 below the marker.
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


@dataclass
class Block:
    """An export cell: the `text` that goes into the module, and the `directive` line that does not."""
    cell: Cell
    directive: str
    text: str
    skipped: int
    tree: ast.Module | None = None

    def line(self, line: int | None) -> int | None:
        "The line of the cell, counted from 1, that holds this line of `text`."
        return line + 1 if line is not None and line > self.skipped else line


@dataclass(order=True)
class Problem:
    """Something the author has to mend, at a line of a cell."""
    cell: Cell
    line: int | None
    message: str

    def told(self, notebook: Notebook) -> str:
        return f'{self.cell.where(notebook, self.line)}: {self.message}'


def blocks(notebook: Notebook) -> list[Block]:
    "The export cells of a notebook, in order."
    found = (block(c) for c in notebook.cells if c.kind == 'code')
    return [b for b in found if b]


def block(cell: Cell) -> Block | None:
    "The cell as a `Block`, or None where its first line that is not blank is no `#export`."
    m = DIRECTIVE.match(cell.source)
    if not m:
        return None
    above, directive = m.groups()
    return Block(cell, directive, above + cell.source[m.end():], len(LINE_END.findall(above)))


def read(block: Block) -> list[Problem]:
    "Parse a block into its `tree`; what Python cannot read is told."
    try:
        block.tree = ast.parse(block.text)
        compile(block.tree, '<cell>', 'exec', dont_inherit=True)
    except SyntaxError as e:
        return [Problem(block.cell, block.line(e.lineno), f'syntax error: {e.msg}')]
    return []
