"""Executes statements of SQLAlchemy with a driver: compiled once, and without SQLAlchemy's own execution.

A statement is written with SQLAlchemy's constructs, which know both dialects; a driver needs its text, the
order of its parameters, and the names of its columns. SQLAlchemy's connection costs five times as much as
the driver for each statement, and twice that with PostgreSQL. See `sqlite` and `postgresql`.
"""

from abc import ABC, abstractmethod
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

#: Statements that are kept compiled. Those of the hot paths are built once, at import; a list with filters is
#: built for each call and soon dropped.
MAX_COMPILED = 300


class ConstraintViolated(Exception):
    """A statement violates a constraint of a table or a trigger; the text is the driver's."""


@dataclass(frozen=True, slots=True)
class Result:
    """`rowcount`: rows that an INSERT, UPDATE or DELETE has affected."""

    rows: Sequence[Any] = ()
    rowcount: int = 0

    def all(self) -> Sequence[Any]:
        """The rows of a query: named tuples."""
        return self.rows

    def one_or_none(self) -> Any:
        """The only row of a query by a key."""
        return self.rows[0] if self.rows else None


@dataclass(frozen=True, slots=True)
class Write:
    """A statement that writes a row, and its parameters."""

    statement: sa.Insert | sa.Update
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A compiled statement. `constants` are the values of the parameters that the statement itself has."""

    text: str
    #: Whether it neither changes nor locks rows.
    reads: bool
    names: Sequence[str]
    constants: Mapping[str, object]
    #: Makes a named tuple of a row; None for a statement that returns no rows.
    make_row: Callable[[Any], Any] | None

    def values(self, parameters: Mapping[str, object]) -> list[object]:
        """In the order in which the driver needs them."""
        constants = self.constants
        return [parameters[name] if name in parameters else constants[name] for name in self.names]


class Connection(ABC):
    """Executes the statements of one transaction."""

    #: Whether it is SQLite's, which has one writer at a time and fewer constructs.
    sqlite = False

    def __init__(self, compile: "Compile") -> None:
        self._compile = compile

    def execute(self, statement: sa.Executable, parameters: Mapping[str, object] | None = None) -> Result:
        """Raises ConstraintViolated, or an error of the driver."""
        if parameters is None:
            command = self._compile(statement, None)
            return self._run(command, command.values({}))
        command = self._compile(statement, tuple(parameters))
        return self._run(command, command.values(parameters))

    def finish(self, first: Write, rest: Sequence[Write] = ()) -> bool:
        """Execute the last writes of a transaction: `first`, and if it affects a row, the INSERTs `rest`.

        Returns whether it did. With PostgreSQL they are one statement, thus one round trip.
        """
        if not self.execute(first.statement, first.values).rowcount:
            return False
        for write in rest:
            self.execute(write.statement, write.values)
        return True

    @abstractmethod
    def _run(self, command: Command, values: Sequence[object]) -> Result: ...


#: Compiles a statement, given the names of its parameters.
Compile = Callable[[sa.Executable, tuple[str, ...] | None], Command]


def compiler(dialect: sa.Dialect) -> Compile:
    """A function that compiles for `dialect` and keeps the results.

    A statement with IN must not have parameters without a value.
    """

    def compile_anew(shape: _Shape) -> _CompiledShape:
        compiled = shape.statement.compile(
            dialect=dialect, column_keys=shape.parameters, compile_kwargs={"render_postcompile": True}
        )
        command = Command(
            text=compiled.string,
            reads=isinstance(shape.statement, sa.Select) and shape.statement._for_update_arg is None,
            names=tuple(compiled.positiontup or ()),
            constants=compiled.params,
            make_row=_row_type(shape.statement) if isinstance(shape.statement, sa.Select) else None,
        )
        return _CompiledShape(command, [compiled.bind_names.get(value, "") for value in shape.values])

    compile_shape = lru_cache(MAX_COMPILED)(compile_anew)

    @lru_cache(MAX_COMPILED)
    def compile(statement: Any, parameters: tuple[str, ...] | None) -> Command:
        shape = _Shape(statement, parameters)
        compiled = compile_shape(shape)
        if not all(compiled.names):
            # A value that is not found must not be that of another statement.
            return compile_anew(shape).command
        values = {name: value.value for name, value in zip(compiled.names, shape.values, strict=True)}
        return replace(compiled.command, constants={**compiled.command.constants, **values})

    return compile


class _Shape:
    """A statement without its values: equal for statements that differ in them alone.

    Building a statement costs a tenth of compiling it, so that one with filters may be built for each call.
    """

    def __init__(self, statement: Any, parameters: tuple[str, ...] | None) -> None:
        self.statement, self.parameters = statement, parameters
        # SQLAlchemy's own key for caching. It has none for text, and IN is compiled for a number of values.
        key = statement._generate_cache_key()
        if key is None or any(value.expanding for value in key.bindparams):
            self.values: Sequence[Any] = ()
            self._key: object = (id(statement), parameters)
        else:
            self.values = key.bindparams
            self._key = (key.key, parameters)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Shape) and self._key == other._key


@dataclass(frozen=True, slots=True)
class _CompiledShape:
    """`names`: the parameters of the command that are values of the statement, in the order of its key."""

    command: Command
    names: Sequence[str]


def _row_type(query: "sa.Select[Any]") -> Callable[[Any], Any]:
    create_type: Any = namedtuple  # The names are known at run time only.
    make: Callable[[Any], Any] = create_type("Row", query.selected_columns.keys(), rename=True)._make
    return make
