"""`pipecd server`, `pipecd ops` and `pipecd hash-password`. Imported only when one of these commands runs."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import structlog

from pipecd import controlplane
from pipecd.config import controlplane as config
from pipecd.config.controlplane import ControlPlaneSpec
from pipecd.config.document import locating_errors
from pipecd.config.flags import LOG_LEVEL_HELP, LOG_LEVELS, PORT
from pipecd.config.named_file import read_named_file
from pipecd.controlplane import Options
from pipecd.controlplane.auth.passwords import hash_password
from pipecd.controlplane.rpc.grpc_server import Tls
from pipecd.errors import ConfigError
from pipecd.json_input import decode_json
from pipecd.telemetry import configure_logging

log = structlog.get_logger()

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.option("--config-file", type=_FILE, required=True, help="Configuration file (kind: ControlPlane).")
@click.option(
    "--encryption-key-file",
    type=_FILE,
    required=True,
    help="Key that signs sessions; create one with `openssl rand -base64 64`.",
)
@click.option("--host", default="0.0.0.0", show_default=True, help="Address to listen on.")
@click.option(
    "--piped-api-port", type=PORT, default=9080, show_default=True, help="gRPC port; serves all services."
)
@click.option("--web-api-port", type=PORT, help="Additional gRPC port; serves all services.")
@click.option("--api-port", type=PORT, help="Additional gRPC port; serves all services.")
@click.option(
    "--http-port", type=PORT, default=9082, show_default=True, help="Console, sign-in and webhooks."
)
@click.option(
    "--admin-port", type=PORT, default=9085, show_default=True, help="/healthz, /metrics, /version."
)
@click.option(
    "--static-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Serve the console from this directory.",
)
@click.option("--tls", is_flag=True, help="Serve gRPC with TLS.")
@click.option("--cert-file", type=_FILE, help="Certificate (PEM), with --tls.")
@click.option("--key-file", type=_FILE, help="Private key of the certificate (PEM), with --tls.")
@click.option("--insecure-cookie", is_flag=True, help="Allow the session cookie over plain HTTP.")
@click.option(
    "--grace-period",
    default=5.0,
    show_default=True,
    help="Seconds in-flight calls may run after shutdown begins.",
)
@click.option("--without-ops", is_flag=True, help="Do not run background jobs; `pipecd ops` runs them.")
@click.option(
    "--log-encoding",
    type=click.Choice(["humanize", "console", "json"]),
    default="humanize",
    show_default=True,
    help="Log format.",
)
@click.option("--log-level", type=LOG_LEVELS, default="info", show_default=True, help=LOG_LEVEL_HELP)
@click.option("--newcomer-file", type=_FILE, hidden=True, help="JSON for the first page in the quickstart.")
@click.option("--cache-address", default="", hidden=True, help="Ignored: there is no cache.")
@click.option("--envoy-authz-port", type=int, hidden=True, help="Ignored: there is no Envoy.")
@click.option("--enable-grpc-reflection", is_flag=True, hidden=True)
@click.option("--metrics/--no-metrics", default=True, hidden=True)
def server(
    config_file: Path,
    encryption_key_file: Path,
    host: str,
    piped_api_port: int,
    web_api_port: int | None,
    api_port: int | None,
    http_port: int,
    admin_port: int,
    static_dir: Path | None,
    tls: bool,
    cert_file: Path | None,
    key_file: Path | None,
    insecure_cookie: bool,
    grace_period: float,
    without_ops: bool,
    log_encoding: str,
    log_level: str,
    newcomer_file: Path | None,
    **_ignored: object,
) -> None:
    """Run the control plane."""
    configure_logging(log_encoding, log_level)  # type: ignore[arg-type]
    if not tls and (cert_file or key_file):
        log.warning(
            "flag_without_effect", flag="--cert-file, --key-file", reason="gRPC is plaintext without --tls"
        )
    if static_dir and not (static_dir / "index.html").is_file():
        raise ConfigError(
            f"--static-dir: {static_dir} contains no index.html",
            remedy="name the directory of the built console",
        )
    extra_ports = [port for port in (web_api_port, api_port) if port is not None and port != piped_api_port]
    options = Options(
        encryption_key=_read_key(encryption_key_file),
        host=host,
        grpc_ports=(piped_api_port, *dict.fromkeys(extra_ports)),
        http_port=http_port,
        admin_port=admin_port,
        tls=_read_tls(cert_file, key_file) if tls else None,
        static_dir=static_dir,
        insecure_cookie=insecure_cookie,
        grace_period=grace_period,
        with_jobs=not without_ops,
        newcomer=decode_json(newcomer_file.read_text()) if newcomer_file else None,
    )
    with configuration(config_file) as spec:
        if spec.address.startswith("http://") and not insecure_cookie:
            # The browser would drop the cookie, and show the login page again.
            log.warning(
                "session_cookie_needs_https",
                address=spec.address,
                remedy="serve the console over https, or give --insecure-cookie",
            )
        asyncio.run(controlplane.run(spec, options))


@click.command()
@click.option("--config-file", type=_FILE, required=True, help="Configuration file (kind: ControlPlane).")
@click.option("--encryption-key-file", type=_FILE, required=True, help="The key file of the servers.")
@click.option("--host", default="0.0.0.0", show_default=True, help="Address to listen on.")
@click.option(
    "--admin-port", type=PORT, default=9085, show_default=True, help="/healthz, /metrics, /version."
)
@click.option(
    "--log-encoding",
    type=click.Choice(["humanize", "console", "json"]),
    default="humanize",
    show_default=True,
    help="Log format.",
)
@click.option("--log-level", type=LOG_LEVELS, default="info", show_default=True, help=LOG_LEVEL_HELP)
def ops(
    config_file: Path,
    encryption_key_file: Path,
    host: str,
    admin_port: int,
    log_encoding: str,
    log_level: str,
) -> None:
    """Run only the background jobs of the control plane, for servers started with --without-ops."""
    configure_logging(log_encoding, log_level)  # type: ignore[arg-type]
    options = Options(encryption_key=_read_key(encryption_key_file), host=host, admin_port=admin_port)
    with configuration(config_file) as spec:
        asyncio.run(controlplane.run_jobs(spec, options))


@click.command("hash-password")
@click.password_option(help="Prompted for if not given.")
def hash_password_command(password: str) -> None:
    """Print the passwordHash of a password, for spec.projects[].staticAdmin."""
    click.echo(hash_password(password))


@contextmanager
def configuration(path: Path) -> Iterator[ControlPlaneSpec]:
    """The content of the file of `--config-file`. Raises ConfigError.

    Errors about its keys, also those that the block raises, name file and line.
    """
    text = read_named_file(str(path), "--config-file")
    document = config.read_document(text, str(path))
    spec = config.decode_spec(document)
    for place, reason in config.find_keys_without_effect(document):
        log.warning("key_without_effect", file=place.file, line=place.line, key=place.key, reason=reason)
    with locating_errors(document):
        yield spec


def _read_key(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"--encryption-key-file: {path} cannot be read: {error.strerror}",
            remedy=f"create one with `openssl rand -base64 64 > {path}`",
        ) from error


def _read_tls(cert: Path | None, key: Path | None) -> Tls:
    if cert is None or key is None:
        raise ConfigError("--tls needs a certificate", remedy="give --cert-file and --key-file")
    pair = Tls(certificate=_read(cert, "--cert-file"), key=_read(key, "--key-file"))
    try:
        # gRPC's library would not say what is wrong. Without a password, OpenSSL would ask for it.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password="")
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or "unknown format"
        raise ConfigError(
            f"--cert-file {cert} and --key-file {key} are no certificate with its key: {reason}",
            remedy="give the PEM files of a certificate and of its key, which is not encrypted",
        ) from error
    return pair


def _read(path: Path, flag: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{flag}: {path} cannot be read: {error.strerror}",
            remedy="specify a file that this program can read",
        ) from error
