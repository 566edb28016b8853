"""A new chapter from a template that passes at once: `make chapter NUMBER=12 TITLE="Text"`.

Or `python -m coursekit.newchapter NUMBER TITLE`. It is then yours to fill.
"""
from __future__ import annotations

import hashlib
import json
import re
import sys
import unicodedata
from pathlib import Path

from .export import export
from .notebook import CourseError, course_notebooks, find_root
from .outputs import write_atomic

NUMBER = re.compile(r'\d\d[a-z]?')
LONGEST = 60  # characters of a title; it becomes a file's name

TEMPLATE = '''
[markdown]
# {title}

Say here, in three or four sentences, what the reader cannot do yet, why it matters, and what they will have written by the end of this
chapter. Each cell of this template shows the form; replace what it says.
[code]
%load_ext autoreload
%autoreload 3
%matplotlib inline
import matplotlib.pyplot as plt
import torch
from exp.nb_00 import *
[markdown]
## Let it break first

Begin with the problem, on the smallest example there is, and keep that example to the end. Here are six numbers on very different scales;
their mean says little about any of them.
[code]
x = torch.tensor([1., 2., 3., 100., 200., 300.])
x.mean(), x.std()
[markdown]
## The idea, then the code

Write the equation and name each symbol as the code names it. With mean $\\mu$ and standard deviation $\\sigma$ of the values $x$, the
scaled values are

$$z = \\frac{{x - \\mu}}{{\\sigma}} .$$

What is worth keeping goes into an export cell. Imports that it needs stand in an export cell too.
[code]
#export
import torch
[code]
#export
def {name}(x):
    """`x` with mean 0 and standard deviation 1 over all its elements. -> tensor of the same shape

    x: a tensor of floats with at least two elements. Raises ValueError for fewer.
    """
    if x.numel() < 2:
        raise ValueError(f'{name}: two or more values are needed, but there are {{x.numel()}}')
    return (x - x.mean()) / x.std()
[markdown]
The test comes right below: equal to a reference at a stated tolerance, a property that must hold, and the bad input that must be
refused.
[code]
test_near({name}(x), torch.nn.functional.layer_norm(x, x.shape) * (5 / 6)**.5, rtol=1e-4)
test_near_zero({name}(x).mean(), tol=1e-6)
test_raises(lambda: {name}(torch.ones(1)), ValueError, match='two or more')
[markdown]
A figure or a table every eight to ten cells, introduced by a sentence that says what it shows. The figure shows the six values before and
after: the order stays, the scale goes.
[code]
fig, axes = plt.subplots(1, 2, figsize=(7, 2.4), facecolor='white')
for ax, values, label in zip(axes, (x, {name}(x)), ('value', 'scaled value')):
    ax.plot(values, 'o', color='#0072B2')
    ax.set(xlabel='position', ylabel=label)
fig.tight_layout()
[markdown]
A number in the text is a claim that fails when it is no longer true.
[code]
claim('{title}: largest scaled value', {name}(x).max(), at_most=2)
[markdown]
## Summary

Three to five sentences: what was built, what it showed, what to remember.

## What you exported

`exp.nb_{number}` holds `{name}`. Say which chapter uses it next.
[markdown]
## Exercises

### 1 · Check: back again (1 point)

Write `unscale(z, mean, std)`, which takes scaled values back to where they came from.

<details><summary>Hint</summary>

Solve the equation of this chapter for $x$.

</details>
[solution ex1]
def unscale(z, mean, std):
    "The values whose scaled form is `z`."
    ### BEGIN SOLUTION
    return z * std + mean
    ### END SOLUTION
[test ex1 1]
test_near(unscale({name}(x), x.mean(), x.std()), x, rtol=1e-5)
[markdown]
### 2 · Change: row by row (2 points)

Write `scale_rows(x)` for a tensor of shape `(n, d)`: every row gets mean 0 and standard deviation 1 of its own.

<details><summary>Hint</summary>

`mean` and `std` take `dim` and `keepdim`.

</details>
[solution ex2]
def scale_rows(x):
    "Each row of `x` scaled by itself. (n, d) -> (n, d)"
    ### BEGIN SOLUTION
    return (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True)
    ### END SOLUTION
[test ex2 2]
rows = torch.arange(12.).view(3, 4)**2
test_near(scale_rows(rows), torch.stack([{name}(row) for row in rows]))
[markdown]
### 3 · Build: without a second pass (3 points)

Write `running_mean(values)`, which goes through an iterable of numbers once and keeps nothing but a count and a mean.

<details><summary>Hint</summary>

How does the mean of $n$ numbers change when one more comes?

</details>
[solution ex3]
def running_mean(values):
    "Mean of an iterable of numbers, seen once. -> float"
    ### BEGIN SOLUTION
    mean = 0.
    for n, value in enumerate(values, 1):
        mean += (value - mean) / n
    return mean
    ### END SOLUTION
[test ex3 3]
test_near(running_mean(iter([3., 5., 10.])), 6.)
test_near(running_mean(range(1001)), 500.)
[markdown]
## Further reading

- Authors, *Title*, year, arXiv id: one sentence on why to read it.
[code]
from notebook2script import notebook2script
notebook2script('{file}')
'''


def new_chapter(number: str, title: str, root=None) -> Path:
    """Write `nbs/NUMBER_title.ipynb` from the template, and export it. -> its path

    Raises CourseError for a number that is none or is taken, and for a title that makes no name.
    """
    root, title = find_root(root=root), ' '.join(str(title).split())
    number = str(number).strip()
    if not NUMBER.fullmatch(number):
        raise CourseError(f'NUMBER={number}: two digits are needed, and a letter for a companion, '
                          'as in 12 or 12a')
    taken = [p for p in course_notebooks(root) if p.name.split('_')[0] == number]
    if taken:
        raise CourseError(f'NUMBER={number}: is taken by nbs/{taken[0].name}')
    path = root / 'nbs' / f'{number}_{slug(title)}.ipynb'
    raw = filled(number, title, path.name)
    write_atomic(path, json.dumps(raw, indent=1, ensure_ascii=False) + '\n')
    try:
        export([path], root)
    except CourseError:
        path.unlink()
        raise
    return path


def slug(title: str) -> str:
    "A title as it stands in a file's name. Raises CourseError for one that leaves nothing."
    plain = unicodedata.normalize('NFKD', title).encode('ascii', 'ignore').decode().lower()
    name = re.sub(r'[^a-z0-9]+', '_', plain).strip('_')
    if not name or len(title) > LONGEST or not title.isprintable():
        raise CourseError(f'TITLE={title}: a title of up to {LONGEST} characters is needed, with '
                          'letters or digits in it')
    return name


def filled(number: str, title: str, file: str) -> dict:
    "The template as a notebook's JSON."
    words = {'number': number, 'file': file, 'name': f'example_{slug(title)}'}
    pieces = re.split(r'^\[([a-z0-9 ]+)\]\n', TEMPLATE.lstrip('\n'), flags=re.M)[1:]
    cells = []
    for kind, text in zip(pieces[::2], pieces[1::2]):
        shown = title if kind == 'markdown' else title.replace('\\', '').replace("'", '’')
        source = text.rstrip('\n').format(title=shown, **words)
        cells.append(cell(number, kind.split(), source, len(cells)))
    metadata = {'course': {'title': title, 'budget': 60, 'needs': []},
                'kernelspec': {'display_name': 'Python 3', 'language': 'python', 'name': 'python3'},
                'language_info': {'name': 'python'}}
    return {'cells': cells, 'metadata': metadata, 'nbformat': 4, 'nbformat_minor': 5}


def cell(number: str, kind: list[str], source: str, place: int) -> dict:
    made = {'cell_type': 'markdown' if kind[0] == 'markdown' else 'code', 'metadata': {},
            'id': hashlib.sha256(f'{number} {place}'.encode()).hexdigest()[:8],
            'source': source.splitlines(keepends=True)}
    if made['cell_type'] == 'code':
        made |= {'outputs': [], 'execution_count': None}
    if kind[0] in ('solution', 'test'):
        test = kind[0] == 'test'
        marks = {'grade': test, 'grade_id': f'{number}-{kind[1]}' + '-test' * test, 'locked': test,
                 'schema_version': 3, 'solution': not test, 'task': False}
        made['metadata'] = {'nbgrader': marks | ({'points': int(kind[2])} if test else {})}
    return made


def main():
    if len(sys.argv) != 3 or not all(arg.strip() for arg in sys.argv[1:]):
        sys.exit('error: a number and a title are needed: make chapter NUMBER=12 TITLE="Text"')
    try:
        path = new_chapter(*sys.argv[1:])
    except (CourseError, OSError) as e:
        sys.exit(f'error: {e}')
    shown = f'nbs/{path.name}'
    print(f'{shown}: a template that runs; fill it, then\n'
          f'  python run_notebook.py {shown} --inplace      store its outputs\n'
          f'  python run_notebook.py {shown} --exercises    prove its exercises')


if __name__ == '__main__':
    main()
