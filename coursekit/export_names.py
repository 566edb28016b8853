"""The names a chapter defines."""
from __future__ import annotations

import ast


def public(trees: list[ast.Module]) -> list[str]:
    "The public names the modules bind at their top level by def, class or assignment, in order."
    found = {}
    for tree in trees:
        for node in tree.body:
            found.update(dict.fromkeys(bound(node)))
    return [n for n in found if not n.startswith('_')]


def bound(node) -> list[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [n.id for t in node.targets for n in ast.walk(t)
                if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    if isinstance(node, ast.AnnAssign) and node.value and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []
