"""What grading a class says: a line for each student, exercises by how many solved them, files."""
from __future__ import annotations

import csv
import io
import json
from collections import Counter

from .outputs import write_atomic
from .report import clip, columns, plain

WIDTH = 100


def exercises_of(grades) -> dict[str, float]:
    "name -> points, for every exercise that somebody could answer, in reading order"
    found = {}
    for one in (*grades.reference, *grades.submissions):
        found |= {m['exercise']: m['max'] for m in one.marks}
    return found


def students(grades) -> dict[str, dict]:
    "student -> exercise -> mark; of a notebook not handed in there is nothing"
    found = {}
    for one in grades.submissions:
        found.setdefault(one.student, {}).update({m['exercise']: m for m in one.marks})
    return dict(sorted(found.items()))


def tell(grades, show):
    "Warnings, who could not be graded, what failed for each student, the exercises, the totals."
    show('')
    for one in grades.reference:
        for cell, message in one.faults.items():
            show(f'note: cell {cell} of {one.path.name} raises here ({first_line(message)}); the '
                 'run went on')
        for m in one.marks:
            if not m['passed']:
                show(f"warning: the course's own answer to {m['exercise']} does not pass here "
                     f'({first_line(m["message"])}): points for it mean nothing')
    for warning in grades.warnings:
        show(f'warning: {warning}')
    for one in grades.submissions:
        if one.problem:
            show(f'{one.student} {one.path.name}: {one.problem}')
        for note in one.notes:
            show(f'{one.student} {one.path.name}: {note}; the course\'s own was used')
    show('')
    show_table(show, student_rows(grades), right=(1,))
    show('')
    show_table(show, exercise_rows(grades), right=(1, 2, 3))
    show('')
    show(totals(grades))


def show_table(show, rows, right=()):
    lines = columns(rows, right)
    show('\n'.join([lines[0], '-' * min(WIDTH, max(map(len, lines))), *lines[1:]]))


def student_rows(grades) -> list[list[str]]:
    everything = sum(exercises_of(grades).values())
    rows = [['student', 'points', 'not solved']]
    for student, marks in students(grades).items():
        missed = [f'{name} ({clip(first_line(m["message"]), 60)})' for name, m in marks.items()
                  if not m['passed']]
        points = sum(m['points'] for m in marks.values())
        rows.append([student, f'{points:g}/{everything:g}', clip('; '.join(missed), 200)])
    return rows


def exercise_rows(grades) -> list[list[str]]:
    "The exercises, those that most students failed first."
    rows, of = [], len(students(grades))
    for name, points in exercises_of(grades).items():
        marks = [m[name] for m in students(grades).values() if name in m]
        solved = sum(m['passed'] for m in marks)
        said = Counter(first_line(m['message']) for m in marks if not m['passed'])
        most = ''.join(f'{text} ({n}×)' for text, n in said.most_common(1))
        rows.append((solved, [name, f'{points:g}', f'{solved}/{of}',
                              f'{100 * solved / max(1, of):.0f} %', clip(most, 90)]))
    rows = [row for _, row in sorted(rows, key=lambda pair: pair[0])]
    return [['exercise', 'points', 'solved', '', 'what most of the others met'], *rows]


def totals(grades) -> str:
    done = sum(s.result is not None for s in grades.submissions)
    points = [sum(m['points'] for m in marks.values()) for marks in students(grades).values()]
    mean = sum(points) / max(1, len(points))
    return (f'{done} of {len(grades.submissions)} submissions graded; {len(points)} students, on '
            f'average {mean:.1f} of {sum(exercises_of(grades).values()):g} points; '
            f'{grades.seconds:.1f} s ({grades.cpu_seconds:.1f} CPU s)')


def first_line(message: str) -> str:
    return plain(message).strip().split('\n')[0]


def write_csv(path, grades):
    "A row for each student: points, what was possible, then the exercises; empty: not handed in."
    names = exercises_of(grades)
    text = io.StringIO()
    table = csv.writer(text, lineterminator='\n')
    table.writerow(['student', 'points', 'max', *names, 'note'])
    for student, marks in students(grades).items():
        problems = [s.problem for s in grades.submissions if s.student == student and s.problem]
        row = [f'{marks[n]["points"]:g}' if n in marks else '' for n in names]
        total = sum(m['points'] for m in marks.values())
        table.writerow([inert(student), f'{total:g}', f'{sum(names.values()):g}', *row,
                        inert(first_line('; '.join(problems)))])
    write_atomic(path, text.getvalue())


def inert(text: str) -> str:
    "A text that no spreadsheet takes for a formula."
    return f"'{text}" if text[:1] in ('=', '+', '-', '@', '\t') else text


def write_json(path, grades):
    "Everything, for programs."
    record = {'submissions': [entry(s) for s in grades.submissions],
              'reference': [entry(s) for s in grades.reference], 'warnings': grades.warnings,
              'seconds': round(grades.seconds, 3), 'exit_status': grades.exit_status}
    write_atomic(path, json.dumps(record, indent=1, ensure_ascii=False) + '\n')


def entry(one) -> dict:
    used = one.result
    return {'student': one.student, 'notebook': one.notebook, 'file': str(one.path),
            'problem': one.problem, 'notes': one.notes, 'points': one.points,
            'max': sum(m['max'] for m in one.marks), 'exercises': one.marks,
            'outcome': used.outcome if used else None,
            'seconds': round(used.seconds, 3) if used else None,
            'cpu_seconds': round(used.cpu_seconds, 3) if used else None,
            'peak_mb': round(used.peak_mb) if used else None}
