"""Opens the store of objects that the configuration names, a directory or a bucket: `open_blobs` calls it."""

import configparser
import datetime
from collections.abc import Mapping
from pathlib import Path

import httpx
import obstore
from obstore.exceptions import BaseError
from obstore.store import GCSStore, LocalStore, ObjectStore, S3Store

from pipecd.config.controlplane import (
    ControlPlaneSpec,
    GCSConfig,
    LocalFilesConfig,
    MinioConfig,
    S3Config,
    filestore,
    read_file,
)
from pipecd.errors import ConfigError, Temporary

_KEY = "spec.filestore.config"
#: How long a bucket may take to be made (seconds).
_PATIENCE = 20


def open_store(spec: ControlPlaneSpec) -> ObjectStore:
    """Raises ConfigError when it cannot be used as it is configured, Temporary when it is away."""
    try:
        match filestore(spec):
            case LocalFilesConfig() as config:
                return _directory(config)
            case S3Config() as config:
                return _s3(config)
            case MinioConfig() as config:
                return _minio(config)
            case GCSConfig() as config:
                return _gcs(config)
            case _:
                raise AssertionError("every kind of filestore is opened here")
    except BaseError:
        # The error itself may quote what stands in a file of credentials.
        raise ConfigError(
            f"{_KEY}: {spec.filestore.type} cannot be opened with it",
            remedy="check the bucket's name, the region and what stands in the files of credentials",
        ) from None


def _directory(config: LocalFilesConfig) -> LocalStore:
    folder = Path(config.path).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".writable").touch()
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written: {error.strerror}",
            remedy=f"give {_KEY}.path a directory that can be written",
        ) from error
    return LocalStore(folder, mkdir=True)


def _s3(config: S3Config) -> S3Store:
    options: dict[str, str] = {}
    if config.region:
        options["region"] = config.region
    if config.role_arn:
        # Of a service account in Kubernetes: the file's token stands for the role.
        options |= {"role_arn": config.role_arn, "web_identity_token_file": config.token_file}
    elif config.access_key_file:
        options |= _keys(config.access_key_file, config.secret_key_file)
    elif config.credentials_file or config.profile:
        options |= _profile(config.credentials_file or "~/.aws/credentials", config.profile or "default")
    if config.endpoint:
        return _elsewhere(config.bucket, config.endpoint, options)
    return S3Store(config.bucket, config=options)  # type: ignore[arg-type]


def _minio(config: MinioConfig) -> S3Store:
    # MinIO knows no regions, but a signature names one.
    options = {"region": "us-east-1", **_keys(config.access_key_file, config.secret_key_file)}
    endpoint = config.endpoint if "://" in config.endpoint else f"https://{config.endpoint}"
    store = _elsewhere(config.bucket, endpoint, options)
    if config.auto_create_bucket:
        _create_bucket(store, config)
    return store


def _elsewhere(bucket: str, endpoint: str, options: Mapping[str, str]) -> S3Store:
    there = {**options, "endpoint": endpoint, "virtual_hosted_style_request": "false"}
    plain = endpoint.startswith("http://")
    return S3Store(bucket, config=there, client_options={"allow_http": plain})  # type: ignore[arg-type]


def _create_bucket(store: S3Store, config: MinioConfig) -> None:
    """Asks for it each time: of a bucket that is there the server says so, and nothing changes."""
    address = obstore.sign(store, "PUT", "", datetime.timedelta(minutes=5))
    try:
        answer = httpx.put(address, timeout=_PATIENCE)
    except httpx.HTTPError as error:
        raise Temporary(f"{_KEY}.endpoint: {config.endpoint} does not answer; check the address") from error
    if answer.status_code not in (200, 409):
        raise ConfigError(
            f"{_KEY}.autoCreateBucket: bucket {config.bucket} cannot be made (HTTP {answer.status_code})",
            remedy="give the keys the right to make it, or make it first",
        )


def _gcs(config: GCSConfig) -> GCSStore:
    if not config.credentials_file:
        return GCSStore(config.bucket)
    key = read_file(config.credentials_file, f"{_KEY}.credentialsFile")
    # Only the file itself can name another address than Google's, such as an emulator's.
    return GCSStore(config.bucket, config={"service_account_key": key}, client_options={"allow_http": True})


def _keys(access_key_file: str, secret_key_file: str) -> dict[str, str]:
    return {
        "access_key_id": read_file(access_key_file, f"{_KEY}.accessKeyFile"),
        "secret_access_key": read_file(secret_key_file, f"{_KEY}.secretKeyFile"),
    }


def _profile(file: str, profile: str) -> dict[str, str]:
    """The keys of a profile, as AWS's tools write them."""
    found = configparser.RawConfigParser()
    try:
        found.read_string(read_file(str(Path(file).expanduser()), f"{_KEY}.credentialsFile"))
        keys = dict(found[profile])
        return {
            "access_key_id": keys["aws_access_key_id"],
            "secret_access_key": keys["aws_secret_access_key"],
            **({"session_token": keys["aws_session_token"]} if "aws_session_token" in keys else {}),
        }
    except (configparser.Error, KeyError):
        # The error itself may quote a line, and so a key.
        raise ConfigError(
            f"{_KEY}: {file} has no profile {profile} with aws_access_key_id and aws_secret_access_key",
            remedy="name a profile that has them, or leave both out to use the machine's own role",
        ) from None
