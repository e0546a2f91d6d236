"""The documentation of each field: the docstring below it in the source."""

from __future__ import annotations

import ast
import inspect
from itertools import pairwise

from mindbot_config.sections.limits import Section


def of(model: type[Section]) -> dict[str, str]:
    """Field name -> its docstring as one paragraph."""
    tree = ast.parse(inspect.getsource(model)).body[0]
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    found = {}
    for field, text in pairwise(body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(doc))):
                found[name] = " ".join(doc.split())
    return found
