"""Where a mutant may be planted, and what it changes; benchmarks/mutants.py asks the tests about them."""

import ast
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "steadyhand"
PACKAGES = ("core", "data", "correction", "policies")

COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Add,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
RENAMED = {"min": "max", "max": "min", "any": "all", "all": "any", "argmin": "argmax", "argmax": "argmin"}


@dataclass(frozen=True)
class Mutant:
    """One change: file, node (number in a walk), line, its text, the column in that text, what is changed."""

    path: str
    node: int
    line: int
    statement: tuple[str, ...]
    source: str
    column: int
    change: str

    @property
    def name(self) -> str:
        """Return what tells it from others, whatever line it has moved to."""
        return f"{self.path}: {self.source} @{self.column}: {self.change}"


def places(path: Path) -> Iterator[Mutant]:
    """Yield every mutant of a file."""
    text = path.read_text()
    tree = ast.parse(text)
    barred = _barred(tree)
    statements = _statements(tree)
    lines = text.splitlines()
    for number, node in enumerate(ast.walk(tree)):
        if id(node) in barred or not hasattr(node, "lineno"):
            continue
        for change in _changes(node):
            before = ast.get_source_segment(text, node) or ""
            said = " ".join(before.split())[:90]
            line = int(getattr(node, "lineno", 0))
            source = lines[line - 1]
            yield Mutant(
                path=str(path.relative_to(SOURCE)),
                node=number,
                line=line,
                statement=tuple(text.strip() for text in lines[statements[id(node)]]),
                source=source.strip(),
                column=int(getattr(node, "col_offset", 0)) - len(source) + len(source.lstrip()),
                change=f"{said} -> {change}",
            )


def _statements(tree: ast.AST) -> dict[int, slice]:
    """Return the lines of the statement of each node, of one with a body its head alone."""
    found: dict[int, slice] = {}
    for statement in ast.walk(tree):  # outer statements come first, inner ones take their nodes over
        if isinstance(statement, ast.stmt):
            inner: list[ast.stmt] = getattr(statement, "body", [])
            last = max(statement.lineno, inner[0].lineno - 1) if inner else statement.end_lineno
            lines = slice(statement.lineno - 1, last or statement.lineno)
            found |= {id(node): lines for node in ast.walk(statement)}
    return found


def _barred(tree: ast.AST) -> set[int]:  # noqa: PLR0912  one case for each kind of place
    """Return nodes whose change has no meaning: texts, annotations, what is raised, imports, defaults."""
    barred: set[int] = set()

    def bar(node: ast.AST | None) -> None:
        if node is not None:
            barred.update(id(child) for child in ast.walk(node))

    for node in ast.walk(tree):
        match node:
            case ast.Raise() | ast.Assert() | ast.JoinedStr() | ast.Import() | ast.ImportFrom():
                bar(node)
            case ast.AnnAssign():
                bar(node.annotation)
                if isinstance(node.value, ast.Constant | ast.UnaryOp | ast.Tuple) or _is_field(node.value):
                    bar(node.value)  # a default setting
            case ast.BinOp(op=ast.BitOr(), left=ast.Name() | ast.BinOp(), right=ast.Name(id=name)) if (
                name[0].isupper() and not name.isupper()
            ):
                bar(node)  # a union of types
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                bar(node.returns)
                for argument in (*node.args.args, *node.args.kwonlyargs, *node.args.posonlyargs):
                    bar(argument.annotation)
                for default in (*node.args.defaults, *node.args.kw_defaults):
                    bar(default)
                for decorator in node.decorator_list:
                    bar(decorator)
                if node.name in ("__repr__", "__str__", "_repr_html_", "toys"):
                    bar(node)  # texts, and sizes of the small forms of a part that tests are run on
            case ast.ClassDef():
                for decorator in node.decorator_list:
                    bar(decorator)
            case ast.Call(func=ast.Name(id=name)) if name.endswith(("Error", "Problem")) or name in (
                "print",
                "assert_never",
            ):
                bar(node)
            case ast.Expr(value=ast.Call(func=ast.Name(id="assert_never"))):
                bar(node)
            case ast.keyword(arg="strict"):
                bar(node)  # of zip: a guard against what never comes
            case ast.Expr(value=ast.Constant()):
                bar(node)
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                bar(node)
            case ast.Subscript(
                value=ast.Name(id="Literal" | "Annotated" | "tuple" | "dict" | "list" | "Callable")
            ):
                bar(node)
            case _:
                continue
    return barred


def _changes(node: ast.AST) -> list[str]:
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in COMPARED:
            return [COMPARED[type(operator)].__name__]
        case ast.BinOp(op=operator) if type(operator) in COMPUTED and not _is_text(node):
            return [COMPUTED[type(operator)].__name__]
        case ast.BoolOp():
            return ["Or" if isinstance(node.op, ast.And) else "And"]
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()):
            return ["left out"]
        case ast.Constant(value=bool()):
            return ["the other"]
        case ast.Constant(value=int()):
            return ["one more"]
        case ast.Constant(value=float() as value) if value != 0.0:
            return ["twice"]
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in RENAMED:
            return [RENAMED[name]]
        case ast.Expr(value=ast.Call()):
            return ["left out"]
        case _:
            return []


def _is_field(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "field"


def _is_text(node: ast.BinOp) -> bool:
    return any(
        isinstance(side, ast.Constant | ast.JoinedStr) and not _is_number(side)
        for side in (node.left, node.right)
    )


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)


def mutated(mutant: Mutant) -> ast.Module:
    """Return its file with the change; every line keeps its number."""
    tree = ast.parse((SOURCE / mutant.path).read_text())
    node = next(node for number, node in enumerate(ast.walk(tree)) if number == mutant.node)
    parents = {id(child): parent for parent in ast.walk(tree) for child in ast.iter_child_nodes(parent)}
    match node:
        case ast.Compare():
            node.ops = [COMPARED[type(node.ops[0])]()]
        case ast.BinOp():
            node.op = COMPUTED[type(node.op)]()
        case ast.BoolOp():
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        case ast.UnaryOp():
            _replace(parents[id(node)], node, node.operand)
        case ast.Constant(value=bool() as value):
            node.value = not value
        case ast.Constant(value=int() as value):
            node.value = value + 1
        case ast.Constant(value=float() as value):
            node.value = value * 2
        case ast.Call(func=ast.Name() as function):
            function.id = RENAMED[function.id]
        case ast.Call(func=ast.Attribute() as function):
            function.attr = RENAMED[function.attr]
        case ast.Expr():
            _replace(parents[id(node)], node, ast.Pass())
        case _:
            raise AssertionError(mutant)
    return ast.fix_missing_locations(tree)


def _replace(parent: ast.AST, old: ast.AST, new: ast.AST) -> None:
    ast.copy_location(new, old)
    for field, value in ast.iter_fields(parent):
        if value is old:
            setattr(parent, field, new)
        elif isinstance(value, list):
            for place, item in enumerate(value):
                if item is old:
                    value[place] = new


def drawn(count: int, seed: int, only: str) -> list[Mutant]:
    """Return mutants drawn evenly from all places of the four packages."""
    everything = [
        mutant
        for package in PACKAGES
        for path in sorted((SOURCE / package).rglob("*.py"))
        for mutant in places(path)
        if only in mutant.name
    ]
    return random.Random(seed).sample(everything, min(count, len(everything)))
