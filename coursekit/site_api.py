"""The reference of `exp`: a page for each module, read from its source. Nothing is imported."""
from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

FENCE = '`````'
LONGEST_DEFAULT = 60


def modules(root) -> dict[str, dict]:
    "What `exp/__init__.py` lists: module -> title, notebook, names. Nothing without the file."
    path = Path(root, 'exp', '__init__.py')
    if not path.is_file():
        return {}
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == 'CHAPTERS':
            return ast.literal_eval(node.value)
    return {}


def pages(root) -> dict[str, str]:
    "The reference's pages: file -> text in MyST Markdown."
    found, listed = {}, modules(root)
    for module, entry in listed.items():
        source = Path(root, 'exp', f'{module}.py').read_text(encoding='utf-8')
        found[f'api/{module}.md'] = page(module, entry, source)
    if found:
        found['api/index.md'] = index(listed)
    return found


def index(listed: dict[str, dict]) -> str:
    "The page that lists the modules with their names."
    lines = ['# The library `exp`', '', 'What the chapters export, module by module. Importing one '
             'does nothing but define its names: `from exp.nb_04 import Learner`.', '',
             '| module | from the chapter | names |', '|:--|:--|:--|']
    for module, entry in listed.items():
        names = ', '.join(f'[`{n}`](#exp.{module}.{n})' for n in entry['names'])
        chapter = f'[{entry["title"]}](../nbs/{entry["notebook"]})'
        lines.append(f'| [`{module}`]({module}.md) | {chapter} | {names} |')
    return '\n'.join([*lines, '', '```{toctree}', ':hidden:', '', *listed, '```', ''])


def page(module: str, entry: dict, source: str) -> str:
    "A module's page: each name of its `__all__` with signature and docstring, as they stand in it."
    defined = {name: node for node in ast.parse(source).body for name in names_of(node)}
    chapter = f'[{entry["title"]}](../nbs/{entry["notebook"]})'
    parts = [f'# exp.{module} · {entry["title"]}', f'From the chapter {chapter}.',
             f'{FENCE}{{py:module}} exp.{module}\n{FENCE}']
    parts += [described(name, defined.get(name)) for name in entry['names']]
    return '\n\n'.join(parts) + '\n'


def names_of(node) -> list[str]:
    if isinstance(node, ast.Assign):
        return [t.id for t in node.targets if isinstance(t, ast.Name)]
    return [node.name] if hasattr(node, 'name') else []


def described(name: str, node) -> str:
    "The directive for one name."
    if isinstance(node, ast.ClassDef):
        init = method(node, '__init__') or method(node, '__call__')
        shown = f'{name}({signature(init, skip=1)})' if method(node, '__init__') else name
        inner = [directive('method', f'{m.name}({signature(m, skip=0 if static(m) else 1)})',
                           doc(m), depth=1)
                 for m in node.body if isinstance(m, ast.FunctionDef)
                 and not m.name.startswith('_') and ast.get_docstring(m)]
        return directive('class', shown, '\n\n'.join(filter(None, [doc(node), *inner])))
    if isinstance(node, ast.FunctionDef):
        return directive('function', f'{name}({signature(node)})', doc(node))
    value = ast.unparse(node.value) if isinstance(node, ast.Assign) else ''
    return directive('data', name, f'`{value}`' if 0 < len(value) <= LONGEST_DEFAULT else '')


def directive(kind: str, shown: str, body: str, depth=0) -> str:
    fence = FENCE[depth:]
    return f'{fence}{{py:{kind}}} {shown}\n\n{body}\n{fence}'


def method(node: ast.ClassDef, name: str):
    return next((m for m in node.body if getattr(m, 'name', '') == name), None)


def static(node) -> bool:
    return any(getattr(d, 'id', '') == 'staticmethod' for d in node.decorator_list)


def signature(node, skip=0) -> str:
    "A function's parameters on one line, without annotations; `skip` leaves out `self`."
    if node is None:
        return ''
    args = ast.parse(ast.unparse(node)).body[0].args   # a copy, to take annotations from
    for a in [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]:
        if a is not None:
            a.annotation = None
    for values in (args.defaults, args.kw_defaults):
        values[:] = [brief(v) if v is not None else None for v in values]
    (args.posonlyargs or args.args)[:skip] = []
    return ast.unparse(args)


def brief(value):
    "A default as it is, or three dots if it is long, or a function without a name."
    long = isinstance(value, ast.Lambda) or len(ast.unparse(value)) > LONGEST_DEFAULT
    return ast.Constant(...) if long else value


def doc(node) -> str:
    "A docstring as Markdown: its prose as prose, and what is laid out by hand as it is."
    text = ast.get_docstring(node, clean=False) or ''
    blocks = re.split(r'\n\s*\n', inspect.cleandoc(text)) if text else []
    return '\n\n'.join(laid_out(b) for b in blocks)


def laid_out(block: str) -> str:
    if re.search(r'^\s|  |^[-*|>]', block, re.M):
        return f'```text\n{block}\n```'
    parts = re.split('(`[^`]*`)', block)
    return ''.join(part if i % 2 else escaped(part) for i, part in enumerate(parts))


def escaped(text: str) -> str:
    "Prose in which nothing is taken for markup."
    return re.sub(r'([\\`*_{}\[\]<>#$~|])', r'\\\1', text)
