"""From notebooks to modules: what is to be exported, whether it can be, and the writing of it."""
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from coursekit import export_cells, export_module, export_names
from coursekit.export_files import read_text, write_all
from coursekit.notebook import CourseError, Notebook, course_notebooks, find_root, load


@dataclass
class Chapter:
    """A notebook on its way to its module."""
    notebook: Notebook
    blocks: list
    path: Path
    names: list[str] = field(default_factory=list)
    text: str = ''

    def told(self, root: Path) -> str:
        name = self.notebook.path.name
        if not self.blocks:
            return f'nbs/{name}: nothing to export'
        n = len(self.names)
        return f'nbs/{name} → exp/{self.path.name} · {n} name{"s" * (n != 1)}'


def export(paths=(), root=None, force=False) -> list[str]:
    "Export the notebooks, or the whole course. Returns a line for each."
    paths = [Path(p) for p in paths]
    root = find_root(paths[0].parent if paths else None, root)
    chapters = [chapter(load(p), root) for p in paths or course_notebooks(root)]
    problems = [p.told(c.notebook) for c in chapters for p in validate(c)]
    problems += [f'exp/{c.path.name} was edited by hand; --force writes over it'
                 for c in chapters if c.text and not force and edited(c.path)]
    if problems:
        raise CourseError('\n'.join(problems))
    write_all({c.path: c.text for c in chapters if c.blocks and read_text(c.path) != c.text})
    return [c.told(root) for c in chapters]


def chapter(notebook: Notebook, root: Path) -> Chapter:
    return Chapter(notebook, export_cells.blocks(notebook), root / 'exp' / f'{notebook.module}.py')


def validate(c: Chapter) -> list:
    problems = [p for b in c.blocks for p in export_cells.read(b)]
    if not problems:
        c.names = export_names.public([b.tree for b in c.blocks])
        c.text = export_module.render(c.notebook.path.name, c.notebook.title, c.names,
                                      [(b.cell.number, b.cell.id, b.text) for b in c.blocks])
    return problems


def edited(path: Path) -> bool:
    text = read_text(path)
    module = text and export_module.read(text)
    return bool(text) and not (module and module.intact)
