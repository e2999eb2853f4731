"""The docstring below each settings field, read from the source on demand.

Pydantic's ``use_attribute_docstrings`` would take half a second in every command that reads a config, for texts that
only the schema and some messages show.
"""

import ast
import inspect
import sys
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

Docs = dict[str, str]


def field_docs(model: type[BaseModel]) -> Docs:
    """Return field -> docstring of a settings class and its bases; empty if the source is not available."""
    docs: Docs = {}
    for base in reversed(model.__mro__):
        docs |= _docs_in(base.__module__).get(base.__qualname__, {})
    return {name: text for name, text in docs.items() if name in model.model_fields}


class DescribedSchema(GenerateJsonSchema):
    """Pydantic's JSON schema with a description for each field that has a docstring."""

    def model_schema(self, schema: Any) -> dict[str, Any]:
        """Return the schema of one settings class."""
        described = super().model_schema(schema)
        properties = described.get("properties", {})
        for name, text in field_docs(schema["cls"]).items():
            properties[name].setdefault("description", text)
        return described


@cache
def _docs_in(module: str) -> dict[str, Docs]:
    """Class -> field -> docstring of all top-level classes of a module."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError):  # built in, or shipped without source
        return {}
    return {node.name: _below_fields(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _below_fields(node: ast.ClassDef) -> Docs:
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in zip(node.body, node.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
