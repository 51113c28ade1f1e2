"""Reads the records of PipeCD's control plane from MySQL. Nothing is written there.

Each record is a row with a binary id and the message as JSON. Needs the extra `mysql`.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from pipecd.config.controlplane import Datastore, SqlServerConfig
from pipecd.config.decode import decode
from pipecd.config.document import Document
from pipecd.config.named_file import read_named_file
from pipecd.errors import ConfigError, PipecdError, Temporary

#: Rows of one query; a deployment has up to some 100 kB.
BATCH = 500
#: Of connecting, and of one query (seconds).
CONNECT_TIMEOUT, QUERY_TIMEOUT = 15, 120
#: As Go's driver writes an address: `user:password@tcp(host:port)/database`.
_ADDRESS = re.compile(
    r"(?:(?P<user>[^:@/]*)(?::(?P<password>.*))?@)?(?:(?P<protocol>tcp|unix)(?:\((?P<address>[^()]+)\))?)?"
    r"/(?P<database>[^/?@]+)"
)


@dataclass(frozen=True, kw_only=True)
class Address:
    """`socket` is set instead of `host` and `port` for a Unix socket."""

    host: str = "127.0.0.1"
    port: int = 3306
    socket: str = ""
    user: str = ""
    password: str = ""
    database: str


def read_address(document: Document) -> Address:
    """The database in PipeCD's configuration file. Raises ConfigError."""
    stores = document.spec.get("datastore") if isinstance(document.spec, Mapping) else None
    datastore = decode(Datastore, stores or {}, document, ("spec", "datastore"))
    if datastore.type != "MYSQL":
        raise ConfigError(
            f"records are imported from MYSQL, not from {datastore.type}",
            remedy="name the configuration file of a control plane of PipeCD that uses MySQL",
            place=document.place(("spec", "datastore", "type")),
        )
    config = decode(SqlServerConfig, datastore.config, document, ("spec", "datastore", "config"))
    database = str(datastore.config.get("database") or "")
    if database and config.username_file and config.password_file:
        # PipeCD writes the rest around `url`, which is only `host:port` then.
        return _with_host(
            Address(
                user=read_named_file(config.username_file, "spec.datastore.config.usernameFile"),
                password=read_named_file(config.password_file, "spec.datastore.config.passwordFile"),
                database=database,
            ),
            config.url,
        )
    match = _ADDRESS.fullmatch(f"{config.url}/{database}" if database else config.url)
    if match is None:
        raise ConfigError(
            "the address of the database is none of MySQL",
            remedy="write it as PipeCD does: user:password@tcp(host:port), and the name of the database in"
            " spec.datastore.config.database",
            place=document.place(("spec", "datastore", "config", "url")),
        )
    address = Address(user=match["user"] or "", password=match["password"] or "", database=match["database"])
    if match["protocol"] == "unix":
        return replace(address, socket=match["address"] or "/tmp/mysql.sock")
    return _with_host(address, match["address"] or address.host)


def _with_host(address: Address, text: str) -> Address:
    """`address` with the host, and the port if there is one, of `host:port`."""
    host, _, port = text.rpartition(":")
    if not port.isdigit():
        host, port = text, "3306"
    return replace(address, host=host.strip("[]"), port=int(port))


@contextmanager
def connected(address: Address) -> Iterator["Source"]:
    """Raises ConfigError if the extra is missing, or Temporary if the database does not respond."""
    try:
        import pymysql
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"reading MySQL needs a package that is not installed: {error}",
            remedy="install pipecd with the extra mysql: pip install 'pipecd[mysql]'",
        ) from error
    try:
        connection = pymysql.connect(
            host=address.host,
            port=address.port,
            unix_socket=address.socket or None,
            user=address.user,
            password=address.password,
            database=address.database,
            charset="utf8mb4",
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=QUERY_TIMEOUT,
        )
    except pymysql.MySQLError as error:
        raise Temporary(f"PipeCD's database does not accept the connection: {_reason(error)}") from error
    with closing(connection):
        yield Source(connection, pymysql.MySQLError)


class Source:
    """PipeCD's database, in one transaction that sees a single state of it."""

    def __init__(self, connection: Any, error: type[Exception]) -> None:
        self._connection, self._error = connection, error
        self._execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        self._execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")

    def records(self, table: str) -> Iterator[list[str]]:
        """The JSON of all records of `table`, in batches."""
        last = b""
        while True:
            rows = self._execute(
                f"SELECT Id, Data FROM `{table}` WHERE Id > %s ORDER BY Id LIMIT {BATCH}", (last,)
            )
            if not rows:
                return
            yield [data for _, data in rows]
            last = rows[-1][0]

    def _execute(self, statement: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, Any]]:
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(statement, parameters)
                return list(cursor.fetchall())
        except self._error as error:
            raise _QueryFailed(f"PipeCD's database refused a query: {_reason(error)}") from error


class _QueryFailed(PipecdError):
    pass


def _reason(error: Exception) -> str:
    """The server's sentence, without its number."""
    return str(error.args[1]) if len(error.args) > 1 else str(error)
