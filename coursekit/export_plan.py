"""What is to be exported: the chapters, their modules' texts, and every problem on the way."""
from __future__ import annotations

import os
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from coursekit import export_cells
from coursekit.export_cells import Block, Problem
from coursekit.export_files import read_text, same_text
from coursekit.export_module import VERSION, Module, entries, has_future, read, render
from coursekit.notebook import CourseError, Notebook, course_notebooks, find_root, load

LATE = '`from __future__` imports belong into the first export cell, above all else'


class ExportError(CourseError):
    """One or more problems, a line or a few for each. Jupyter shows it without its frames."""

    def _render_traceback_(self) -> list[str]:
        return [f'ExportError: {self}']


@dataclass(eq=False)
class Chapter:
    """A notebook on its way to its module. `old` is the module on disk, `text` what it shall be,
    `names` its public names (None while a broken cell hides them). `readable`: parsed and
    compiled in this call."""
    notebook: Notebook
    path: Path
    blocks: list[Block]
    old_text: str | None
    old: Module | None
    names: list[str] | None = None
    text: str = ''
    defined: dict = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    readable: bool = False

    def __post_init__(self):
        self.parts = [(b.cell.number, b.cell.id, b.text) for b in self.blocks]
        self.entries = entries(self.parts)

    @property
    def label(self) -> str:
        return f'exp/{self.path.name}'

    @property
    def edited(self) -> bool:
        "Was the module on disk written, or changed, by hand?"
        return bool((self.old_text or '').strip()) and not (self.old and self.old.intact)

    @property
    def trusted(self) -> bool:
        "Was the module on disk made from these very cells, so that they were checked before?"
        return bool(self.old and self.old.intact and self.old.version == VERSION
                    and self.old.cells == self.entries)

    @property
    def up_to_date(self) -> bool:
        return same_text(self.old_text, self.text)

    @property
    def title(self) -> str:
        metadata = self.notebook.raw.get('metadata')
        course = metadata.get('course') if isinstance(metadata, dict) else None
        title = course.get('title') if isinstance(course, dict) else None
        return title if title and isinstance(title, str) else self.notebook.title

    def rendered(self) -> str:
        return render(self.notebook.path.name, self.title, self.names, self.parts, self.entries)

    def told(self) -> str:
        "The line that an export prints: the same whether or not the module had to be written."
        name = f'nbs/{self.notebook.path.name}'
        if not self.blocks:
            return f'{name}: nothing to export'
        return f'{name} → {self.label} · {len(self.names)} name{"s" * (len(self.names) != 1)}'


@dataclass
class Course:
    """The chapters of one call. `listing`: all notebooks there are; `whole`: all of them are meant;
    `stale`: modules of ours that no notebook makes any more."""
    root: Path
    whole: bool
    listing: list[Path]
    chapters: list[Chapter]
    problems: list[str]
    stale: dict[Path, Module] = field(default_factory=dict)

    @property
    def exp(self) -> Path:
        return self.root / 'exp'

    def exporting(self) -> list[Chapter]:
        return [c for c in self.chapters if c.blocks]


# ---- finding the chapters

def gather(paths=(), root=None) -> Course:
    "Read the notebooks named, or all of the course. What cannot be read goes to the problems."
    paths = [Path(p) for p in paths]
    root = find_root(paths[0].absolute().parent if paths else None, root)
    problems, chapters, nbs = [], [], root / 'nbs'
    listing = course_notebooks(root)
    for path in dict.fromkeys(located(p, root) for p in paths) if paths else listing:
        try:
            if path.parent != nbs:
                raise CourseError(f'{shown(path)}: is not in {shown(nbs)}, the folder that is '
                                  'exported from')
            chapters.append(chapter(load(shown(path)), root))
        except CourseError as e:
            problems.append(str(e))
        except OSError as e:
            problems.append(f'{shown(path)}: cannot be read ({e.strerror})')
    if not chapters and not problems:
        problems.append(f'{shown(nbs)} holds no notebooks: nothing to export')
    course = Course(root, not paths, listing, chapters, problems)
    if course.whole and not problems:
        course.stale = stale(course)
    return course


def located(path: Path, root: Path) -> Path:
    """The notebook that a path means: a module of `exp/` stands for its notebook, and a bare name
    that is not in the current folder for the notebook of that name in `nbs/`."""
    if path.suffix == '.py' and (made := read(read_text(path) or '')):
        return root / 'nbs' / made.notebook
    if not path.exists() and path.parent == Path('.') and (root / 'nbs' / path).exists():
        return root / 'nbs' / path
    return Path(os.path.normpath(path.absolute()))


def shown(path: Path) -> str:
    "A path as messages give it: from the current folder where it lies below it."
    return str(path).removeprefix(os.path.join(os.getcwd(), ''))


def chapter(notebook: Notebook, root: Path) -> Chapter:
    path = root / 'exp' / f'{notebook.module or notebook.path.stem}.py'
    text = read_text(path)
    blocks = [b for c in notebook.cells if (b := export_cells.block(c))]
    return Chapter(notebook, path, blocks, text, read(text) if text else None)


def stale(course: Course) -> dict[Path, Module]:
    "The modules in `exp/` that this tool made from notebooks which are gone or export no more."
    made = {c.path for c in course.exporting()}
    others = (p for p in sorted(course.exp.glob('*.py')) if p not in made
              and p.name != '__init__.py')
    return {p: m for p in others if (m := read(read_text(p) or ''))}


# ---- checking and rendering

def settle(course: Course, trust: bool = True) -> None:
    """Give each chapter its names and text; raises ExportError with all problems, if there are any.

    `trust`: do not check again a module that was made from these cells by this version of the
    checks.
    """
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # Python gives its warnings when the cell is run
        check(course, trust)
    told = [p.told(c.notebook) for c in course.chapters
            for p in sorted(c.problems, key=Problem.place)]
    if course.problems or told:
        raise ExportError('\n'.join([*course.problems, *told]))


def check(course: Course, trust: bool) -> None:
    "Find the names, the text and the problems of each chapter."
    from coursekit.export_checks import check_links, clashes, numbering, odd_ids, odd_name
    for c in course.chapters:
        c.problems += [p for cell in c.notebook.cells
                       if (p := export_cells.near_miss(cell))] + odd_ids(c)
    course.problems += numbering(course) + [p for c in course.exporting() for p in odd_name(c)]
    chapters = course.exporting()
    doubtful = unproven(course, chapters) if trust else set(chapters)
    for c in chapters:
        if c in doubtful:
            parse(c)
        else:
            c.names = c.old.names
        if c.names is not None:
            c.text = c.rendered()
    check_links(course, [c for c in chapters if c.readable])
    clashes(course)


def unproven(course: Course, chapters: list[Chapter]) -> set[Chapter]:
    "The chapters to be checked: those that changed, and those that mention a module which did."
    changed = {c for c in chapters if not c.trusted}
    modules = [c.path.stem for c in changed] + [p.stem for p in course.stale]
    if not modules:
        return changed
    mention = re.compile(rf'\b(?:{"|".join(map(re.escape, modules))})\b')
    return changed | {c for c in chapters if any(mention.search(b.text) for b in c.blocks)}


def parse(c: Chapter) -> None:
    "Parse the export cells of a chapter and find the names they define."
    from coursekit.export_names import define, public
    problems = [p for b in c.blocks for p in export_cells.read(b)]
    if not problems:
        c.defined, problems = define(c.blocks)
        c.names = public(c.defined)
        refused = unacceptable(c)
        c.readable = not refused
        problems += refused
    c.problems += problems


def unacceptable(c: Chapter) -> list[Problem]:
    "What Python does not accept of the module as a whole."
    try:
        compile(c.rendered(), c.label, 'exec', dont_inherit=True)
        return []
    except SyntaxError as e:
        if told := [p for b in c.blocks if (p := export_cells.compiles(b))]:
            return told
        future = [b for b in c.blocks if has_future(b.text) and '__future__' in (e.msg or '')]
        if future:
            return [future[-1].problem(None, LATE)]
        message = f'the cells make no module when put together: {e.msg} (line {e.lineno} of it)'
        return [c.blocks[0].problem(None, message)]
