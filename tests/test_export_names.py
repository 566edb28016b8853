"""Names: what a chapter defines, what it uses, and what it takes from other chapters."""
import ast
import importlib.util
import symtable
import sys
from pathlib import Path

import pytest

from coursekit.export import export
from coursekit.export_cells import Block
from coursekit.export_names import define, public
from coursekit.export_plan import ExportError
from coursekit.export_scopes import uses
from coursekit.notebook import Cell
from export_helpers import Course


def blocks(*texts):
    found = []
    for i, text in enumerate(texts, 1):
        b = Block(Cell(i, f'c{i}', 'code', '#export\n' + text, [], '', {}, []), '', '#export\n',
                  text)
        b.tree = ast.parse(text)
        found.append(b)
    return found


def names(*texts):
    found, problems = define(blocks(*texts))
    assert problems == []
    return public(found)


def at_odds(*texts):
    return [(p.cell.number, p.line, p.message) for p in define(blocks(*texts))[1]]


@pytest.mark.parametrize('text, expected', [
    ('def f(): pass\nclass C: pass\nasync def g(): pass', ['f', 'C', 'g']),
    ('b = 1\na = 2', ['b', 'a']), ('a, (b, *c) = [d, e] = 1, (2, 3)', ['a', 'b', 'c', 'd', 'e']),
    ('x: int = 1\ny: int', ['x']), ('_x = 1\ndef _f(): pass\n__version__ = 1', []),
    ('import math\nimport os.path as p\nfrom a import b, c as d', []),
    ('a.b = 1\na[0] = 2\nx = a', ['x']), ('t = 1\ndel t', []), ('t = 1\ndel t\nt = 2', ['t']),
    ('for i in range(3):\n    j = i', ['j']), ('with open(f) as g:\n    h = g', ['h']),
    ('try:\n    x = 1\nexcept ValueError as e:\n    x = 2', ['x']),
    ('try:\n    x = 1\nexcept ValueError:\n    raise', ['x']),
    ('try:\n    pass\nfinally:\n    x = 1', ['x']),
    ('try:\n    import numba\nexcept ImportError:\n    numba = None', []),
    ('try:\n    import a\n    HAS = True\nexcept ImportError:\n    HAS = False', ['HAS']),
    ('if x:\n    def f(): pass\nelse:\n    f = None', ['f']),
    ('if x:\n    a = 1\nelif y:\n    a = 2\nelse:\n    raise ValueError', ['a']),
    ('a = 1\nif x:\n    a = 2', ['a']), ('if __name__ == "__main__":\n    main = 1', []),
    ('(n := 10)', ['n']), ('x = [y := 1, y]', ['y', 'x']), ('f = lambda: (z := 1)', ['f']),
    ('x = [i for i in range(3)]', ['x']), ('x = 1\nx += 1', ['x']), ('x = y = 1', ['x', 'y']),
    ('from fastcore.all import patch\n@patch\ndef fit(self: int): pass', []),
    ('def f():\n    global g\n    g = 1', ['f']), ('class C:\n    inner = 1', ['C']),
    ('grün = 1', ['grün'])])
def test_public_names(text, expected):
    assert names(text) == expected


@pytest.mark.skipif(sys.version_info < (3, 12), reason='the type statement came with Python 3.12')
def test_type_aliases_are_public():
    assert names('type Pair = tuple[int, int]') == ['Pair']


@pytest.mark.parametrize('text', [
    'if x:\n    f = 1', 'try:\n    f = 1\nexcept ValueError:\n    pass',
    'match x:\n    case 1:\n        f = 2', 'if x:\n    pass\nelse:\n    def f(): pass'])
def test_a_name_defined_on_some_paths_only_is_an_error(text):
    (_, line, message), = at_odds(text)
    assert '`f` is defined on some paths only' in message and line >= 2
    assert at_odds(text.replace('f =', '_f =').replace('def f', 'def _f')) == []


@pytest.mark.parametrize('first, second', [
    ('def f(): pass', 'def f(): pass'), ('x = 1', 'y = 2\nx = 3'),
    ('class C: pass', 'class C:\n    y = 1'), ('f = 1', 'def f(): pass'),
    ('x = 1', 'if x:\n    x = 2')])
def test_a_name_defined_by_two_cells_is_an_error(first, second):
    (cell, _, message), = at_odds(first, 'z = 0', second)
    assert cell == 3 and 'cell 1 (#c1)' in message and 'final version' in message


@pytest.mark.parametrize('first, second', [
    ('import relu', 'def relu(): pass'), ('def relu(): pass', 'import relu'),
    ('from torch import a as relu', 'relu = 1')])
def test_a_name_imported_and_defined_is_an_error(first, second):
    assert 'imports' in at_odds(first, second)[0][2]


@pytest.mark.parametrize('first, second, expected', [
    ('class C: pass', 'class C(C):\n    y = 1', ['C']), ('def f(): pass', 'f = cache(f)', ['f']),
    ('from math import sqrt', 'sqrt = cache(sqrt)', ['sqrt']),
    ('def f(): pass', '@f.register\ndef f(x: int): pass', ['f']),
    ('@overload\ndef f(x: int): pass', '@overload\ndef f(x: str): pass', ['f']),
    ('x = 1', 'x += 1', ['x']), ('def f(): pass\ndef f(): pass', 'y = 1', ['f', 'y']),
    ('_ = 1', '_ = 2', []), ('def f(): pass', '@Normalize\ndef f(): pass', ['f']),
    ('import math', 'import math', []),
    ('for i in (): pass', 'for i in (): pass', []), ('t = 1\ndel t', 't = 2', ['t'])])
def test_what_may_be_bound_twice(first, second, expected):
    assert names(first, second) == expected


def test_setting_all_is_an_error():
    for text in ('__all__ = ["x"]', '__all__ += ["x"]', '__all__: list = []'):
        assert 'which the exporter writes' in at_odds(text)[0][2]
    assert at_odds('print(__all__)') == []


# ---- names used

@pytest.fixture
def course(tmp_path):
    return Course(tmp_path)


def problems(course, *cells, name='01_a'):
    course.write(name, *(c if c.startswith(('md:', '%')) else f'#export\n{c}' for c in cells))
    try:
        export([course.nb(name)])
    except ExportError as e:
        assert not course.module(name[:2]).exists()
        return str(e).split('\n')
    assert course.module(name[:2]).exists()
    return []


@pytest.mark.parametrize('text', [
    'x = [i * j for i in range(3) for j in range(i) if j]', 'x = {k: v for k, v in {}.items()}',
    'x = sum(i for i in [])', 'def f(a, b=1, *c, d, **e): return a, b, c, d, e',
    'f = lambda x, *y: (x, y)', 'def f():\n    for i in []: pass\n    return i',
    'class C:\n    a = 1\n    b = a\n    def f(self): return self.a, C',
    'try:\n    x = 1\nexcept ValueError as e:\n    x = e',
    'x = 1\ndef f():\n    global y\n    y = x\ndef g(): return y', 'if (n := 10) > 5: _m = n',
    'print([y := 1, y])', 'print(__name__, __file__, __doc__)',
    'class C:\n    print(__qualname__, __module__)\n    def f(self): return __class__',
    'def f(x):\n    match x:\n        case [a, *b]: return a, b\n        case {"k": v, **rest}: '
    'return v, rest\n        case int() as n: return n',
    'with open("f") as f, open("g") as (a, b): pass', 'def f():\n    import os\n    return os',
    'import a.b\nx = a.c', 'def f(n): return g(n)\ndef g(n): return f(n)',
    'async def f():\n    async with a as b:\n        return [await x async for x in b]\na = 1',
    'def f():\n    def g():\n        nonlocal x\n        x = 1\n    x = 0\n    return g',
    'def f(x: int, y: "Unknown") -> str: pass',
    'from __future__ import annotations\ndef f(x: Unknown) -> Other: y: Third = 1',
    'class C:\n    x: int\n    def f(self) -> "C": pass',
    'def f():\n    try: return get_ipython()\n    except NameError: return None',
    'try:\n    shell = get_ipython()\nexcept NameError:\n    shell = None',
    'def f():\n    del x\nx = 1', 'x = 1\nx += 1', 'f"{1!r:>{10}}"', 'x = 5\nf"{x:{x}}"',
    'def f(x, y=[z for z in []]): pass', 'class A: pass\nclass B(A): pass',
    'def deco(f): return f\n@deco\ndef f(): pass', 'N = 3\ndef f(n=N): pass',
    'squares = [x for x in []]\nx = 5\ny = x', 'for i in range(3): print(i)',
    'import os as operating\nx = operating.name', 'from os import path, sep as s\nx = path, s',
    'T = 1\nclass C:\n    T = T', 'def f(): return later\nlater = 1', 'type("C", (), {})',
    'print(exit, copyright)', 'x = lambda: y\ny = 1'])
def test_names_that_are_there_are_not_missed(course, text):
    assert problems(course, text) == []


@pytest.mark.parametrize('text, name, line', [
    ('def f(): return plt.show()', 'plt', 2), ('x = np', 'np', 2),
    ('class C(Base): pass', 'Base', 2), ('@deco\ndef f(): pass', 'deco', 2),
    ('def f(x=DEFAULT): pass', 'DEFAULT', 2), ('def f(x: Tensor): pass', 'Tensor', 2),
    ('x = [i for i in items]', 'items', 2), ('x = [i for i in []]\ny = i', 'i', 3),
    ('class C:\n    a = 1\n    def f(self): return a', 'a', 4),
    ('def f():\n    x = 1\ndef g(): return x', 'x', 4),
    ('def f(a): return a\ndef g(): return a', 'a', 3), ('def f():\n    ls -l', 'ls', 3),
    ('display(1)', 'display', 2), ('x = f"{y}"', 'y', 2), ('def f():\n    return _', '_', 3),
    ('class C:\n    y = [z for _ in range(3)]', 'z', 3), ('x: Tensor = 1', 'Tensor', 2),
    ('print(In, Out)', 'In', 2),
    ('def f():\n    try: return typo\n    except ValueError: pass', 'typo', 3)])
def test_a_name_from_nowhere_is_told(course, text, name, line):
    found = problems(course, text)
    assert any(f'`{name}` is used, but no export cell defines or imports it' in p
               and f'cell 1 (#c1), line {line}:' in p
               for p in found)


def test_the_cell_that_has_the_name_but_is_not_exported_is_told(course):
    course.write('01_a', 'import matplotlib.pyplot as plt', '#export\ndef f(): return plt',
                 'def helper(): pass',
                 '#export\ndef g(): return helper()')
    with pytest.raises(ExportError) as e:
        export([course.nb('01_a')])
    assert 'cell 1 (#c1) does, but has no `#export`' in str(e.value)
    assert 'cell 3 (#c3) does, but has no `#export`' in str(e.value)


def test_a_name_made_out_of_sight_can_be_declared(course):
    cells = "globals()['Made'] = type('Made', (), {})", 'def f(): return Made'
    assert '`Made` is used' in problems(course, *cells)[0]
    assert problems(course, 'Made: type\n' + cells[0], cells[1]) == []
    assert "__all__ = ['f']" in course.text('01')


def test_display_has_its_own_hint(course):
    assert 'from IPython.display import display' in problems(course, 'display(1)')[0]


@pytest.mark.parametrize('first, second, ok', [
    ('class B(A): pass', 'class A: pass', False),
    ('@deco\ndef f(): pass', 'def deco(f): return f', False), ('def f(n=N): pass', 'N = 1', False),
    ('x = [N for _ in ()]', 'N = 1', False), ('class C:\n    n = N', 'N = 1', False),
    ('def f(x: A): pass', 'class A: pass', False), ('x = f()', 'def f(): pass', False),
    ('def f(): return N', 'N = 1', True), ('class C:\n    def f(self): return N', 'N = 1', True),
    ('f = lambda: N', 'N = 1', True), ('def f(x: "A"): pass', 'class A: pass', True),
    ('def f():\n    class C(A): pass', 'class A: pass', True),
    ('from __future__ import annotations\ndef f(x: A): pass', 'class A: pass', True)])
def test_names_needed_at_import_must_stand_above(course, first, second, ok):
    found = problems(course, first, second)
    assert (found == []) == ok
    assert ok or 'cell 2 (#c2), further down' in found[0] and 'cell 1 (#c1)' in found[0]


@pytest.mark.parametrize('text, name', [
    ('class B(A): pass\nclass A: pass', 'A'), ('x = y\ny = 1', 'y'),
    ('print([N for _ in ()])\nN = 1', 'N'), ('with open(f) as g: pass\nf = 1', 'f')])
def test_order_within_a_cell(course, text, name):
    found = problems(course, text)
    assert len(found) == 1 and 'line 2' in found[0]
    assert f'`{name}` is needed before this cell defines it' in found[0]


@pytest.mark.parametrize('cells, ok', [
    (('t = 1', 'x = t', 'del t'), True), (('t = 1', 'del t', 'x = t'), False),
    (('t = 1', 'del t', 'def f(): return t'), False),
    (('t = 1', 'def f(): return t', 'del t'), False), (('t = 1\nx = t\ndel t', 'y = x'), True),
    (('t = 1', 'del t', 't = 2\nx = t'), True)])
def test_deleted_names(course, cells, ok):
    found = problems(course, *cells)
    assert (found == []) == ok and (ok or '`t` is used, but was deleted' in found[0])


def test_future_annotations_hold_for_all_cells(course):
    assert problems(course, 'from __future__ import annotations', 'def f(x: Unknown): pass') == []
    text = course.text('01')
    assert text.index('from __future__') < text.index('__all__')
    compile(text, 'nb_01.py', 'exec')


def test_future_imports_belong_in_the_first_export_cell(course):
    found = problems(course, 'x = 1', 'from __future__ import annotations')
    assert 'cell 2' in found[0] and 'first export cell' in found[0]
    found = problems(course, '"""Words."""\nfrom __future__ import annotations', name='02_b')
    assert 'first export cell' in found[0]


@pytest.mark.parametrize('text, message', [
    ('return 1', "'return' outside function"), ('break', "'break' outside loop"),
    ('await f()', 'put it into an async function'), ('x = yield', 'yield'),
    ('def f(a, a): pass', 'duplicate argument'), ('nonlocal x', 'nonlocal'),
    ('async with a as b: pass', 'async function'), ('def f():\n    from os import *', 'import *')])
def test_what_only_the_compiler_notices_is_told(course, text, message):
    found = problems(course, 'a = 1', text)
    assert message in '\n'.join(found) and 'cell 2' in found[0]


def by_symtable(source):
    "The global names read, as Python's own symbol tables have it."
    found, todo = set(), [symtable.symtable(source, '<module>', 'exec')]
    while todo:
        table = todo.pop()
        todo += table.get_children()
        found |= {s.get_name() for s in table.get_symbols() if s.is_referenced()
                  and (table.get_type() == 'module' or s.is_global())}
    return found


@pytest.mark.skipif(sys.version_info >= (3, 12), reason='tables no longer tell of comprehensions')
@pytest.mark.parametrize('module', [
    'argparse', 'ast', 'asyncio.tasks', 'collections', 'dataclasses', 'email.message', 'enum',
    'fractions', 'functools', 'inspect', 'json.decoder', 'logging', 'pathlib', 'random',
    're._parser', 'shutil', 'statistics', 'subprocess', 'tarfile', 'threading', 'typing',
    'unittest.mock', 'zipfile'])
def test_scopes_are_those_of_python_itself(module):
    source = Path(importlib.util.find_spec(module).origin).read_text(encoding='utf-8')
    tree = ast.parse(source)
    found = uses(tree.body, annotations='from __future__ import annotations' not in source)
    added_to = {n.target.id for n in ast.walk(tree) if isinstance(n, ast.AugAssign)
                and isinstance(n.target, ast.Name)}
    assert (found.now.keys() | found.later.keys()) - added_to == by_symtable(source) - added_to


# ---- names from other chapters

def test_star_imports_from_another_chapter_bring_its_public_names(course):
    course.write('00_base', '#export\ndef test_eq(a, b): pass\n_hidden = 1')
    course.write('01_a', '#export\nfrom exp.nb_00 import *\ndef f(): test_eq(1, 1)')
    course.write('02_b', '#export\nfrom .nb_00 import *\ndef g(): test_eq(1, 1)')
    export(root=course.root)
    course.write('03_c', '#export\nfrom exp.nb_00 import *\ndef h(): return _hidden')
    for call in (dict(root=course.root), dict(paths=[course.nb('03_c')])):
        with pytest.raises(ExportError, match='`_hidden` is used'):
            export(**call)


def test_a_name_dropped_by_a_chapter_is_missed_in_those_that_did_not_change(course):
    course.write('00_base', '#export\ndef keep(): pass', '#export\ndef gone(): pass')
    course.write('01_a', '#export\nfrom exp.nb_00 import *\ndef f(): gone()')
    course.write('02_b', '#export\nfrom exp.nb_00 import gone')
    export(root=course.root)
    before = course.tree()
    course.write('00_base', '#export\ndef keep(): pass')
    changed = course.tree()
    with pytest.raises(ExportError) as e:
        export(root=course.root)
    assert '01_a.ipynb cell 1 (#c1), line 3: `gone` is used' in str(e.value)
    assert ('02_b.ipynb cell 1 (#c1), line 2: imports `gone` from exp.nb_00, which defines no '
            'such name') in str(e.value)
    assert course.tree() == changed and before['exp/nb_00.py'] == changed['exp/nb_00.py']


def test_names_that_are_not_public_can_be_imported_by_name(course):
    course.write('00_base', '#export\nimport math\n_hidden = 1\nfor i in (): pass')
    course.write('01_a', '#export\nfrom exp.nb_00 import _hidden, math, i')
    export(root=course.root)
    export([course.nb('01_a')], force=True)


@pytest.mark.parametrize('text, message', [
    ('from exp.nb_09 import x', 'there is no exp/nb_09.py'),
    ('import exp.nb_09', 'there is no exp/nb_09.py'),
    ('from exp import nb_09', 'there is no exp/nb_09.py'),
    ('from exp.nb_01 import x', 'the module it is exported to itself'),
    ('from exp.nb_09 import *', 'there is no exp/nb_09.py'),
    ('from .nb_09 import x', 'there is no exp/nb_09.py'),
    ('def f():\n    from exp.nb_09 import x', 'there is no exp/nb_09.py'),
    ('from exp.tools import x', 'there is no exp/tools.py')])
def test_imports_from_chapters_that_do_not_exist(course, text, message):
    found = problems(course, text)
    assert len(found) == 1 and message in found[0]


def test_hand_written_modules_in_exp_may_be_imported(course):
    course.exp.mkdir()
    (course.exp / 'tools.py').write_text('def helper(): pass\n')
    assert problems(course, 'from exp.tools import helper\nx = helper()') == []
    assert problems(course, 'from exp.tools import *\ny = helper()', name='02_b') == []
    found = problems(course, 'from exp.tools import helpers', name='03_c')
    assert 'defines no such name' in found[0]


def test_a_star_from_elsewhere_hides_what_is_defined(course):
    assert problems(course, 'from os.path import *\nx = join("a", "b")') == []


def test_a_chapter_that_is_broken_costs_the_others_no_errors(course):
    course.write('00_base', '#export\ndef f(: pass')
    course.write('01_a', '#export\nfrom exp.nb_00 import *\nx = f()')
    with pytest.raises(ExportError) as e:
        export(root=course.root)
    assert str(e.value).count('.ipynb') == 1


# ---- two chapters, one name

def test_a_name_exported_by_two_chapters(course):
    course.write('01_a', 'md:# Start', '#export\ndef relu(): pass\ndef other(): pass')
    course.write('02_b', 'md:# Later', 'md:## Again', '#export\nx = 1\nrelu = 2')
    with pytest.raises(ExportError) as e:
        export(root=course.root)
    assert str(e.value) == ('02_b.ipynb cell 3 (#c3), under "Again", line 3: exports `relu`, and '
                            'so does 01_a.ipynb cell 2 (#c2), under "Start": rename one, or write '
                            '`from exp.nb_01 import relu`')
    assert not course.exp.exists()


def test_a_single_export_sees_the_names_of_the_others(course):
    course.write('01_a', '#export\ndef relu(): pass')
    course.write('02_b', '#export\nx = 1')
    export(root=course.root)
    course.write('02_b', '#export\nrelu = 1')
    with pytest.raises(ExportError, match='so does 01_a.ipynb cell 1'):
        export([course.nb('02_b')])


def test_a_function_moved_to_another_chapter_can_be_exported_there_first(course):
    course.write('01_a', '#export\ndef relu(): pass', '#export\ny = 1')
    course.write('02_b', '#export\nx = 1')
    export(root=course.root)
    course.write('01_a', '#export\ny = 1')
    course.write('02_b', '#export\ndef relu(): pass')
    export([course.nb('02_b')])
    export([course.nb('01_a')])
    export(root=course.root, check=True)


def test_clashes_are_seen_between_chapters_that_did_not_change(course):
    course.write('01_a', '#export\nx = 1')
    course.write('02_b', '#export\nx = 1')
    for name in ('01_a', '02_b'):
        other = course.nb('02_b' if name == '01_a' else '01_a')
        kept = other.read_text()
        other.unlink()
        (course.exp / '__init__.py').unlink(missing_ok=True)
        moved = [p for p in course.exp.glob('nb_*.py')]
        texts = {p: p.read_text() for p in moved}
        [p.unlink() for p in moved]
        export([course.nb(name)])
        [p.write_text(t) for p, t in texts.items()]
        other.write_text(kept)
    with pytest.raises(ExportError, match='exports `x`, and so does'):
        export(root=course.root)


def test_pythons_own_warnings_about_a_cell_are_not_repeated(course):
    course.write('01_a', '#export\nx = "\\d"\ny = x is "z"')
    done = course.run_real()
    assert done.returncode == 0 and done.stderr == ''
