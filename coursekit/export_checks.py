"""Checks that need more than one cell, or more than one chapter."""
from __future__ import annotations

import re
from pathlib import Path

from coursekit.export_cells import Problem
from coursekit.export_links import Shelf, linked
from coursekit.export_plan import Chapter, Course, chapter, parse
from coursekit.notebook import CourseError, load, sort_key

CELL_ID = re.compile(r'[A-Za-z0-9_-]{1,64}')


def check_links(course: Course, chapters: list[Chapter]) -> None:
    "Check what chapters import from each other, and that each name used comes from somewhere."
    if not chapters:
        return
    from coursekit.export_uses import missing
    exporting = course.exporting()
    shelf = Shelf(course.exp, {c.path.stem: c.names for c in exporting},
                  {c.path.stem: c.text for c in exporting}, [p.stem for p in course.stale])
    for c in chapters:
        problems, stars = linked(c.path.stem, c.blocks, shelf)
        c.problems += problems
        if stars is not None:
            c.problems += missing(c.notebook, c.blocks, stars)


def clashes(course: Course) -> None:
    "Names that two chapters export."
    owners = {} if course.whole else others(course)
    for c in course.exporting():
        for name in c.names or ():
            other = owners.setdefault(name, c)
            if other is not c:
                complain(c, name, other)


def others(course: Course) -> dict[str, Chapter | Path]:
    "The names of chapters that are not part of this call, as their modules on disk tell."
    from coursekit.export_index import on_disk
    mine = {c.path for c in course.chapters}
    return {name: course.root / 'nbs' / notebook
            for notebook, _, _, names in on_disk(course.exp, mine) for name in names}


def complain(c: Chapter, name: str, other) -> None:
    "Add the problem of a name that an`other` chapter exports too, if its notebook still does."
    if isinstance(other, Path):
        try:
            other = chapter(load(other), other.parent.parent)
        except (CourseError, OSError):
            return
    theirs, mine = place(other, name), place(c, name)
    if theirs and mine:
        c.problems.append(mine.block.problem(
            mine.binding.line, f'exports `{name}`, and so does '
                               f'{theirs.block.cell.where(other.notebook)}: rename one, or write '
                               f'`from exp.{other.path.stem} import {name}`'))


def place(c: Chapter, name: str):
    "Where a chapter defines a name."
    if not c.defined:
        kept, c.problems = c.problems, []
        parse(c)
        c.problems = kept
    return c.defined.get(name)


# ---- names and numbers of notebooks and cells

def odd_ids(c: Chapter) -> list[Problem]:
    "Cell ids that cannot be used to find the cell again."
    seen, problems = {}, []
    for b in c.blocks:
        if not isinstance(b.cell.id, str) or not CELL_ID.fullmatch(b.cell.id):
            message = 'its id is not 1 to 64 letters, digits, - and _, as Jupyter makes them'
        elif b.cell.id in seen:
            message = (f'has the same id as cell {seen[b.cell.id]}: save the notebook in Jupyter, '
                       'which gives it a new one')
        else:
            seen[b.cell.id] = b.cell.number
            continue
        problems.append(Problem(b.cell, None, message))
    return problems


def odd_name(c: Chapter) -> list[str]:
    "A notebook's name that cannot be told in a module."
    name = c.notebook.path.name
    if name.isprintable() and not set('"\\') & set(name):
        return []
    return [f'{name!r}: a notebook that exports cannot have quotes, backslashes or control '
            'characters in its name']


def numbering(course: Course) -> list[str]:
    "Notebooks that share a number, and notebooks without one that have something to export."
    problems, first = [], {}
    meant = {c.notebook.path.name for c in course.chapters}
    for path in course.listing:
        key = sort_key(path)[:3]
        other = first.setdefault(key, path) if key[0] == 0 else path
        if other != path and (course.whole or meant & {path.name, other.name}):
            problems.append(f'{other.name} and {path.name} have one number, so both would be '
                            f'exp/nb_{path.name.partition("_")[0]}.py: give one of them another')
    nameless = [c.notebook.path.name for c in course.exporting() if not c.notebook.number]
    problems += [f'{name}: has export cells but no number: a name such as 07_{name} says which '
                 'module they go to' for name in nameless]
    return problems
