"""The exporter's work, in the order it is done: plan, check, then compare or write."""
from __future__ import annotations

from dataclasses import dataclass, field

from coursekit import export_index
from coursekit.export_files import read_text, same_text, write_all
from coursekit.export_plan import Course, ExportError, gather, settle
from coursekit.export_module import read

SHOWN = 40


@dataclass
class Report:
    """What an export did: a line for each notebook, which is the same on every run, and for the
    whole course or an update what was new."""
    lines: list[str]
    news: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return '\n'.join(self.lines + self.news)


def export(paths=(), root=None, check=False, update=False, prune=False, force=False) -> Report:
    """Export the notebooks named, or the whole course.

    Raises ExportError, with nothing written, when anything is wrong or, with `check`, when `exp/`
    is not what the notebooks give.
    """
    refuse_combinations(paths, check=check, update=update, prune=prune, force=force)
    try:
        return exported(paths, root, check, update, prune, force)
    except OSError as e:
        raise ExportError(f'{e.filename}: {e.strerror}') from e


def exported(paths, root, check: bool, update: bool, prune: bool, force: bool) -> Report:
    course = gather(paths, root)
    notebooks = {}
    if update and not course.problems:
        from coursekit.export_update import bring_back
        notebooks = bring_back(course, force)
    settle(course, trust=not force)
    if check:
        compare(course)
        return Report([c.told() for c in course.chapters], ['exp/ is what the notebooks give'])
    if not force:
        refuse_edited(course, prune, update)
    return write(course, notebooks, prune)


def refuse_combinations(paths, check=False, update=False, prune=False, force=False) -> None:
    "Raise where options contradict each other."
    if check and (update or prune or force):
        raise ExportError('--check writes nothing, so it does not go with --update, --prune or '
                          '--force')
    if prune and paths:
        raise ExportError('--prune looks at the whole course: name no notebook with it')


def refuse_edited(course: Course, prune: bool, update: bool) -> None:
    "Raise if a file that would be written or removed holds somebody's work."
    problems = [edited(c.label, c.old is not None) for c in course.exporting()
                if c.edited and not (update and c.old) and not c.up_to_date]
    problems += [f'exp/{p.name} is stale, but was edited by hand: save what you need of it, then '
                 '--prune --force'
                 for p, m in course.stale.items() if prune and not m.intact]
    if export_index.holds_more(read_text(course.exp / '__init__.py')):
        problems.append('exp/__init__.py holds code written by hand: move it elsewhere, write '
                        'over it with --force, or take out the line `# notebook2script …`, after '
                        'which the file is left alone')
    if problems:
        raise ExportError('\n'.join(problems))


def edited(label: str, ours: bool) -> str:
    if ours:
        return (f'{label} was edited by hand since it was exported: --update brings the edit back '
                'into the notebook, --force throws it away')
    return f'{label} was not made by notebook2script: move it away, or write over it with --force'


# ---- writing

def write(course: Course, notebooks: dict, prune: bool) -> Report:
    chapters = course.exporting()
    changed = {c.path: c.text for c in chapters if not c.up_to_date}
    write_all({**notebooks, **changed})
    removed = list(course.stale) if prune else []
    for path in removed:
        path.unlink(missing_ok=True)
    index = read_text(course.exp / '__init__.py')
    if index_due(course, index) and not same_text(index, index_text(course)):
        export_index.refresh(course.exp)
    news = [f'nbs/{path.name}: updated from exp/' for path in notebooks]
    if course.whole:
        fate = 'removed' if prune else 'stale, no notebook exports it (--prune removes it)'
        news += [f'exp/{path.name}: {fate}' for path in course.stale]
        news.append(f'{len(chapters)} module{"s" * (len(chapters) != 1)}: {len(changed)} written, '
                    f'{len(chapters) - len(changed)} unchanged')
    return Report([c.told() for c in course.chapters], news)


def index_due(course: Course, index: str | None) -> bool:
    "Is there something to list, or listed already, in an index that is ours to write?"
    return bool(course.exporting() or (index or '').strip()) and export_index.is_ours(index)


def index_text(course: Course) -> str:
    "What `exp/__init__.py` has to be."
    mine = [(c.notebook.path.name, c.path.stem, title_told(c), c.names) for c in course.exporting()]
    others = export_index.on_disk(course.exp, {c.path for c in course.exporting()})
    return export_index.index_text(mine + others)


def title_told(c) -> str:
    "The title as it stands in the module, where the index takes it from."
    return read(c.text).title


# ---- comparing

def compare(course: Course) -> None:
    "Raise ExportError, with a short diff, unless `exp/` holds what the notebooks give."
    differ = [(c.label, c.old_text, c.text, why(c)) for c in course.exporting() if not c.up_to_date]
    index = read_text(course.exp / '__init__.py')
    if index_due(course, index):
        new = index_text(course)
        if not same_text(index, new):
            differ.append(('exp/__init__.py', index, new, 'does not list what the modules hold'))
    told = [f'{label} is missing' if old is None else f'{label} {reason}'
            for label, old, _, reason in differ]
    told += [f'exp/{p.name} is stale: no notebook exports it; --prune removes it'
             for p in course.stale]
    if told:
        changes = diff([d for d in differ if d[1] is not None], max(10, SHOWN - len(told) - 1))
        raise ExportError('\n'.join([*told, *changes]))


def why(c) -> str:
    "Why a module differs from what its notebook gives."
    if c.edited:
        return 'was edited by hand' if c.old else 'was not made by notebook2script'
    return f'is not what nbs/{c.notebook.path.name} gives'


def diff(files: list[tuple], most: int) -> list[str]:
    "What exporting would change, in about `most` lines."
    from difflib import unified_diff
    lines = [line for label, old, new, _ in files
             for line in unified_diff(old.splitlines(), new.splitlines(), label,
                                      f'{label} exported anew', lineterm='', n=1)]
    more = len(lines) - most
    return lines[:most] + ([f'… and {more} lines more'] if more > 0 else [])
