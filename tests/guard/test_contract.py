"""Who may make cleared values: shown on the syntax tree of the whole package, so that no other way comes in unseen."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import guardedvlm

PACKAGE = Path(guardedvlm.__file__).parent
MAKERS = {
    "ClearedImage": ("guard/verify/", "inference/clearance.py"),
    "ClearedPrompt": ("guard/screen.py", "guard/screen/", "inference/clearance.py"),
    "Clearance": ("guard/verify/signer.py",),
    "SignedClearance": ("guard/verify/signer.py", "inference/service.py"),
}
"""Type -> files (or folders) that may make it. A signed clearance is also rebuilt from its bytes, off the wire."""
CHANGES = {"raster": "ClearedImage", "question": "ClearedPrompt", "expires_at": "Clearance"}
"""Field -> type that `dataclasses.replace(value, field=...)` would make."""


def strangers(source: str, where: str) -> list[str]:
    """Places where a guarded type is used as a value (called, aliased, passed on) by a file that may not make it."""
    tree = ast.parse(source)
    harmless = {id(node) for node in _harmless(tree)}
    return [
        f"{where}:{getattr(node, 'lineno', 0)} {name}"
        for node in ast.walk(tree)
        if id(node) not in harmless
        for name in _values(node)
        if name in MAKERS and not where.startswith(MAKERS[name])
    ]


def _values(node: ast.AST) -> list[str]:
    """Names that a node evaluates; an import under another name counts, since the name is lost after it."""
    match node:
        case ast.Name(id=name, ctx=ast.Load()) | ast.Attribute(attr=name):
            return [name]
        case ast.ImportFrom(names=aliases) | ast.Import(names=aliases):
            return [alias.name.split(".")[-1] for alias in aliases if alias.asname not in (None, alias.name)]
        case ast.Call(func=ast.Name(id="replace") | ast.Attribute(attr="replace"), keywords=changes):
            return [CHANGES[change.arg] for change in changes if change.arg in CHANGES]
    return []


def _harmless(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes that name a type and make nothing: annotations, `isinstance`, `Clearance.decode`, which reads bytes; and
    the protobuf messages of the same names, which inference checks before it makes anything of them."""
    messages = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "guardedvlm.v1"
        for alias in node.names
    }
    for node in ast.walk(tree):
        match node:
            case ast.arg(annotation=ast.expr() as part) | ast.AnnAssign(annotation=part):
                yield from ast.walk(part)
            case ast.FunctionDef(returns=ast.expr() as part) | ast.AsyncFunctionDef(returns=ast.expr() as part):
                yield from ast.walk(part)
            case ast.Call(func=ast.Name(id="isinstance"), args=[_, part]):
                yield from ast.walk(part)
            case ast.Attribute(value=ast.Name(id="Clearance") as part, attr="decode"):
                yield part
            case ast.Attribute(value=ast.Name(id=name)) if name in messages:
                yield node


FILES = {
    path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted(PACKAGE.rglob("*.py"))
    if "v1" not in path.relative_to(PACKAGE).parts
}


def test_cleared_values_are_made_where_they_are_checked_and_nowhere_else() -> None:
    places = [
        place for where, source in FILES.items() if where != "core/clearance.py" for place in strangers(source, where)
    ]
    assert places == []


def test_the_maker_is_where_the_contract_says() -> None:
    """A moved maker must be moved here too, or the contract guards an empty place."""
    assert strangers(FILES["guard/verify/__init__.py"], "elsewhere.py")
    assert strangers(FILES["guard/verify/signer.py"], "elsewhere.py")


@pytest.mark.parametrize(
    "source",
    [
        "ClearedImage(raster, digest)",
        "clearance.ClearedImage(raster, digest)",
        "make = ClearedImage",
        "from guardedvlm.core.clearance import ClearedImage as Made",
        "functools.partial(ClearedPrompt, '')",
        "object.__new__(ClearedImage)",
        "getattr(clearance, 'x', ClearedImage)",
        "def f() -> ClearedImage:\n    return ClearedImage(a, b)",
        "class Mine(ClearedImage): ...",
        "dataclasses.replace(image, raster=raw)",
        "import guardedvlm.core.clearance as pb\npb.ClearedPrompt('')",
    ],
)
def test_the_contract_sees_every_way_to_make_one(source: str) -> None:
    assert strangers(source, "guard/pipeline.py")


@pytest.mark.parametrize(
    "source",
    [
        "from guardedvlm.core.clearance import ClearedImage",
        "def f(image: ClearedImage, *rest: ClearedPrompt) -> ClearedImage | None:\n    return image",
        "async def f() -> tuple[ClearedImage, ...]: ...",
        "class A:\n    image: ClearedImage",
        "isinstance(x, ClearedImage)",
        "Clearance.decode(b'')",
        "from guardedvlm.v1 import inference_pb2 as pb\npb.ClearedPrompt(question='')",
        "text.replace('a', 'b')",
    ],
)
def test_the_contract_lets_types_be_named(source: str) -> None:
    assert strangers(source, "guard/pipeline.py") == []
