"""Who needs whom: the imports of notebooks and their modules, and the order that follows."""
from __future__ import annotations

import ast
import heapq
import re
import warnings
from functools import cached_property, lru_cache
from pathlib import Path

from .notebook import Notebook, sort_key

MAGIC = re.compile(r'^(\s*)[%!?]|^(\s*)[^#\s].*\?\s*$')
ASSIGNED = re.compile(r'^(\s*[\w, ]+=\s*)[%!].*$')


def python_of(source: str) -> str:
    """A cell's Python: lines for IPython alone become `pass`.

    A whole-cell magic leaves nothing, unless what follows it is Python all the same.
    """
    lines = source.split('\n')
    first = next((line for line in lines if line.strip()), '')
    if first.startswith('%%'):
        if not first.startswith(('%%time', '%%capture', '%%prun')):
            return ''
        lines[lines.index(first)] = ''
    out = []
    for line in lines:
        if (m := MAGIC.match(line)):
            line = (m[1] if m[1] is not None else m[2]) + 'pass'
        out.append(ASSIGNED.sub(r'\1None', line))
    return '\n'.join(out)


def tree_of(source: str) -> ast.Module:
    "A cell's syntax tree; an empty one if it cannot be parsed (running the cell will tell why)."
    for text in (source, python_of(source)):
        try:
            with warnings.catch_warnings(action='ignore'):  # a bad escape is the cell's business
                return ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            pass
    return ast.Module([], [])


def imports(tree: ast.AST, package: str = '') -> set[str]:
    "Dotted names imported in a tree; `from a import b` gives a and a.b, as b may be a module."
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ''
            if node.level:
                parts = package.split('.') if package else []
                parts = parts[:len(parts) - node.level + 1]
                base = '.'.join([*parts, *([base] if base else [])])
            if base:
                found |= {base, *(f'{base}.{a.name}' for a in node.names if a.name != '*')}
    return found


@lru_cache(1000)
def module_imports(text: str, package: str) -> frozenset[str]:
    return frozenset(imports(ast.parse(text), package))


@lru_cache(10_000)
def facts(source: str) -> tuple[frozenset[str], int]:
    """What a cell imports, and how many checks it holds: `assert`, and calls of `claim` and of names
    in `test…`. Kept, as a watch asks again and again; parsed only if a word of these is in it.

    `torch.optim` counts as imported where it is only mentioned: `import torch` brings it along.
    """
    mentioned = {'torch.optim'} if 'torch.optim' in source else set()
    if not any(word in source for word in ('import', 'assert', 'claim', 'test')):
        return frozenset(mentioned), 0
    tree, tests = tree_of(source), 0
    for node in ast.walk(tree):
        tests += isinstance(node, ast.Assert)
        if isinstance(node, ast.Call):
            name = getattr(node.func, 'id', getattr(node.func, 'attr', ''))
            tests += name == 'claim' or name.startswith('test')
    return frozenset(imports(tree) | mentioned), tests


def notebook_imports(notebook: Notebook) -> set[str]:
    "Dotted names that a notebook's cells import."
    return set().union(*(facts(c.source)[0] for c in notebook.cells if c.kind == 'code'))


def count_tests(notebook: Notebook) -> int:
    "How many checks a notebook's cells hold."
    return sum(facts(c.source)[1] for c in notebook.cells if c.kind == 'code')


class Modules:
    "The course's own Python files: in `exp/`, beside a notebook, or in ROOT."

    def __init__(self, root):
        self.root = Path(root)
        self.known, self.found = {}, {}

    def file(self, name: str, beside: Path | None = None) -> Path | None:
        "The file of a dotted name, if it belongs to the course."
        if (name, beside) not in self.found:
            self.found[name, beside] = self.look_for(name, beside)
        return self.found[name, beside]

    def look_for(self, name: str, beside: Path | None) -> Path | None:
        parts = name.split('.')
        for base in filter(None, (beside, self.root)):
            for path in (base.joinpath(*parts).with_suffix('.py'),
                         base.joinpath(*parts, '__init__.py')):
                if path.is_file():
                    return path
        return None

    def needs(self, path: Path) -> frozenset[str]:
        "What a module file imports."
        if path not in self.known:
            inside = self.root in path.parents
            package = '.'.join(path.relative_to(self.root).parent.parts) if inside else ''
            try:
                self.known[path] = module_imports(path.read_text(encoding='utf-8'), package)
            except (OSError, SyntaxError, ValueError):
                self.known[path] = frozenset()
        return self.known[path]

    def reach(self, names, beside: Path | None = None) -> tuple[dict[Path, tuple], set[str]]:
        """Follow imports through the course's files.

        -> {file: the files it was reached through}, and the dotted names of everything else
        (libraries)
        """
        files, outside = {}, set()
        todo = [(name, ()) for name in sorted(names)]
        while todo:
            name, via = todo.pop(0)
            path = self.file(name, beside)
            if path is None:
                if self.file(name.split('.')[0], beside) is None:
                    outside.add(name)
            elif path not in files:
                files[path] = via
                todo += [(n, (*via, path)) for n in sorted(self.needs(path))]
        return files, outside


class Graph:
    "The notebooks of a run and what they need from each other."

    def __init__(self, notebooks: dict[str, Notebook], root):
        self.notebooks, self.root, self.modules = notebooks, Path(root), Modules(root)

    @cached_property
    def reached(self) -> dict[str, tuple]:
        "key -> (course files it imports and through what, names of libraries)"
        found = {}
        for key, nb in self.notebooks.items():
            found[key] = self.modules.reach(notebook_imports(nb), nb.path.parent)
        return found

    @cached_property
    def makers(self) -> dict[Path, str]:
        "module file -> the notebook of the course that makes it"
        return {self.root / 'exp' / f'{nb.module}.py': key for key, nb in self.notebooks.items()
                if nb.module and nb.path.parent == self.root / 'nbs'}

    @cached_property
    def needs(self) -> dict[str, dict[str, tuple]]:
        """key -> {key of a notebook it builds on: the files between them}.

        Where two build on each other the later one waits; otherwise nothing could begin.
        """
        edges = {}
        for key, (files, _) in self.reached.items():
            made = {self.makers.get(f, key): via for f, via in files.items()}
            edges[key] = {other: via for other, via in made.items() if other != key}
        for key in edges:
            for other in list(edges[key]):
                if key in edges.get(other, ()) and self.place(key) < self.place(other):
                    del edges[key][other]
        return edges

    def place(self, key: str) -> tuple:
        return sort_key(self.notebooks[key].path)

    def order(self, seconds=lambda key: 1.0) -> list[str]:
        """Every notebook after those it builds on; of those ready, the longest chain's head first.

        `seconds`: how long a notebook is expected to take. What a cycle still holds back comes
        last, in reading order.
        """
        users = {key: [] for key in self.needs}
        for key, needed in self.needs.items():
            for other in needed:
                users[other].append(key)
        chain = {}

        def length(key, above=()):
            if key not in chain and key not in above:
                after = [length(user, (*above, key)) for user in users[key]]
                chain[key] = seconds(key) + max(after, default=0)
            return chain.get(key, 0)

        waiting = {key: set(needed) for key, needed in self.needs.items()}
        ready = [(-length(k), self.place(k), k) for k, needed in waiting.items() if not needed]
        heapq.heapify(ready)
        order = []
        while ready:
            key = heapq.heappop(ready)[-1]
            order.append(key)
            for user in users[key]:
                waiting[user].discard(key)
                if not waiting[user] and user not in order:
                    heapq.heappush(ready, (-length(user), self.place(user), user))
        return order + sorted(set(waiting) - set(order), key=self.place)

    def libraries(self) -> set[str]:
        "Dotted names of all libraries that notebooks import, by themselves or through modules."
        return set().union(*(names for _, names in self.reached.values()))
