"""Which global names a statement reads and binds, by Python's scoping rules.

Python's own symbol tables (module `symtable`) would tell most of it, but no line numbers, and from
Python 3.12 on nothing of their own about comprehensions. The tests hold the two equal on the
standard library.
"""
from __future__ import annotations

import ast
import sys
from dataclasses import dataclass, field

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
LAZY_ANNOTATIONS = sys.version_info >= (3, 14)


@dataclass
class Uses:
    """The global names that code reads at once (`now`) and when its functions are called
    (`later`), each with the first line that does, and the global names it binds."""
    now: dict[str, int] = field(default_factory=dict)
    later: dict[str, int] = field(default_factory=dict)
    binds: set[str] = field(default_factory=set)

    def read(self, name: str, line: int, now: bool) -> None:
        told = self.now if now else self.later
        told[name] = min(line, told.get(name, line))


def uses(nodes: list[ast.stmt], annotations: bool = True) -> Uses:
    """What statements of a module's top level read and bind.

    `annotations`: they are evaluated, as no `from __future__ import annotations` says otherwise.
    """
    found = Uses()
    top = Scope('module', annotations=annotations)
    top.take(nodes)
    top.resolve(set(), True, found)
    return found


class Scope:
    """A module's top level, a function, a class body or a comprehension: the names it binds,
    declares and reads, and the scopes inside it. `cls` is the class that names such as `__x` are
    private to."""

    def __init__(self, kind: str, cls: str = '', now: bool = True, annotations: bool = True):
        self.kind, self.cls, self.now, self.annotations = kind, cls, now, annotations
        self.bound, self.globals, self.nonlocals, self.lifted = set(), set(), set(), set()
        self.reads, self.inner = [], []

    # ---- taking nodes in

    def take(self, nodes) -> None:
        "Note what the nodes, which all belong to this scope, bind and read."
        todo = list(nodes)
        while todo:
            node = todo.pop()
            step = STEPS.get(type(node), Scope.other)
            todo += step(self, node) or ()

    def other(self, node):
        return ast.iter_child_nodes(node)

    def bind(self, name: str) -> None:
        self.bound.add(self.private(name))

    def private(self, name: str) -> str:
        "The name as Python keeps it: `__x` in a class C is `_C__x`."
        hidden = self.cls.strip('_') and name.startswith('__') and not name.endswith('__')
        return f'_{self.cls.lstrip("_")}{name}' if hidden else name

    def name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.reads.append((self.private(node.id), node.lineno, True))
        elif isinstance(node.ctx, ast.Store) or self.kind != 'module':
            self.bind(node.id)

    def function(self, node):
        self.bind(node.name)
        around = self.generic(node)
        around.signature(node.args, node.returns)
        around.inside('function', node.body, now=False).parameters(node.args)
        return node.decorator_list + defaults(node.args)

    def lambda_(self, node):
        self.inside('function', [node.body], now=False).parameters(node.args)
        return defaults(node.args)

    def class_(self, node):
        self.bind(node.name)
        around = self.generic(node)
        around.take(node.bases + node.keywords)
        around.inside('class', node.body, cls=node.name)
        return node.decorator_list

    def generic(self, node) -> 'Scope':
        "The scope around a definition: one that binds its type parameters, or else this one."
        params = getattr(node, 'type_params', None)
        return self.inside('function', params) if params else self

    def type_param(self, node):
        self.bind(node.name)
        self.inside('function',
                    [n for n in (getattr(node, 'bound', None), getattr(node, 'default_value', None))
                     if n],
                    now=False)

    def type_alias(self, node):
        self.generic(node).inside('function', [node.value], now=False)
        return [node.name]

    def comprehension(self, node):
        first, *more = node.generators
        parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        parts += [first.target, *first.ifs, *(n for g in more for n in (g.target, g.iter, *g.ifs))]
        inner = self.inside('comprehension', parts, now=not isinstance(node, ast.GeneratorExp))
        (self.lifted if self.kind == 'comprehension' else self.bound).update(inner.lifted)
        return [first.iter]

    def walrus(self, node):
        (self.lifted if self.kind == 'comprehension'
         else self.bound).add(self.private(node.target.id))
        return [node.value]

    def annotated(self, node):
        simple = isinstance(node.target, ast.Name)
        if not (simple and self.kind == 'function'):
            self.annotation(node.annotation)
        if simple and not node.value:  # at the top level, a promise that the name will be there
            return self.bind(node.target.id)
        return [n for n in (node.target, node.value) if n]

    def annotation(self, node) -> None:
        if LAZY_ANNOTATIONS and node and self.annotations:
            self.inside('function', [node], now=False)
        elif node and self.annotations:
            self.take([node])

    def signature(self, args: ast.arguments, returns) -> None:
        for a in (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg):
            self.annotation(a and a.annotation)
        self.annotation(returns)

    def parameters(self, args: ast.arguments) -> None:
        for a in (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg):
            if a:
                self.bind(a.arg)

    def augmented(self, node):
        if isinstance(node.target, ast.Name) and self.kind == 'module':
            self.reads.append((node.target.id, node.lineno, True))
            return [node.value]
        return [node.target, node.value]

    def imported(self, node) -> None:
        for a in node.names:
            if a.name != '*':
                self.bind(a.asname or a.name.partition('.')[0])

    def declared_global(self, node) -> None:
        self.globals.update(map(self.private, node.names))

    def declared_nonlocal(self, node) -> None:
        self.nonlocals.update(map(self.private, node.names))

    def captured(self, node):
        "An `except … as name`, or a name in a `case`."
        name = getattr(node, 'name', None) or getattr(node, 'rest', None)
        if name:
            self.bind(name)
        return ast.iter_child_nodes(node)

    def inside(self, kind: str, nodes, now: bool = True, cls: str = '') -> 'Scope':
        scope = Scope(kind, cls or self.cls, now, self.annotations)
        scope.take(nodes)
        self.inner.append(scope)
        return scope

    # ---- deciding which names are global

    def resolve(self, visible: set[str], now: bool, found: Uses) -> None:
        """Add the global names read and bound here and further in; `visible` are names of the
        functions around, `now` whether the code runs where it stands."""
        now = now and self.now
        own = self.bound - self.globals - self.nonlocals
        if self.kind == 'module':
            found.binds |= self.bound
            own = set()
        found.binds |= self.bound & self.globals
        hidden = own | (visible - self.globals)
        for name, line, _ in self.reads:
            if name not in hidden:
                found.read(name, line, now)
        for scope in self.inner:
            scope.resolve(visible - self.globals if self.kind == 'class' else hidden, now, found)


def defaults(args: ast.arguments) -> list:
    return args.defaults + [d for d in args.kw_defaults if d]


STEPS = {
    ast.Name: Scope.name, ast.FunctionDef: Scope.function, ast.AsyncFunctionDef: Scope.function,
    ast.Lambda: Scope.lambda_, ast.ClassDef: Scope.class_, ast.NamedExpr: Scope.walrus,
    ast.AnnAssign: Scope.annotated, ast.AugAssign: Scope.augmented,
    ast.Import: Scope.imported, ast.ImportFrom: Scope.imported,
    ast.Global: Scope.declared_global, ast.Nonlocal: Scope.declared_nonlocal,
    ast.ExceptHandler: Scope.captured, ast.MatchAs: Scope.captured, ast.MatchStar: Scope.captured,
    ast.MatchMapping: Scope.captured, **dict.fromkeys(COMPREHENSIONS, Scope.comprehension),
    ast.Constant: lambda scope, node: (), ast.Load: lambda scope, node: (), ast.Store: lambda scope,
    node: (),
}
for kind, step in {'TypeAlias': Scope.type_alias, 'TypeVar': Scope.type_param,
                   'ParamSpec': Scope.type_param,
                   'TypeVarTuple': Scope.type_param}.items():
    if hasattr(ast, kind):  # from Python 3.12 on
        STEPS[getattr(ast, kind)] = step
