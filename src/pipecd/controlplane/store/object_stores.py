"""Opens the configured object store, a directory or a bucket. Called by `open_blobs`."""

import configparser
import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import httpx
import obstore
from obstore.exceptions import BaseError
from obstore.store import GCSStore, LocalStore, ObjectStore, S3Store

from pipecd.config.controlplane import (
    Filestore,
    GCSConfig,
    LocalFilesConfig,
    MinioConfig,
    S3Config,
    filestore_config,
)
from pipecd.config.named_file import read_named_file
from pipecd.controlplane.settings import ObjectStoreSettings
from pipecd.errors import ConfigError, Place, Temporary

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

_KEY = "spec.filestore.config"
#: Timeout of the request that creates a bucket, in seconds.
_CREATE_BUCKET_TIMEOUT = 20
DEFAULT_SETTINGS = ObjectStoreSettings()


class _Options(TypedDict):
    """What every bucket is opened with."""

    client_options: "ClientConfig"
    retry_config: "RetryConfig"


def open_store(filestore: Filestore, settings: ObjectStoreSettings = DEFAULT_SETTINGS) -> ObjectStore:
    """Raises ConfigError if the configuration is unusable, Temporary if the store is unavailable."""
    options = _options(settings)
    try:
        match filestore_config(filestore):
            case LocalFilesConfig() as config:
                return _directory(config)
            case S3Config() as config:
                return _s3(config, options)
            case MinioConfig() as config:
                return _minio(config, options)
            case GCSConfig() as config:
                return _gcs(config, options)
            case _:
                raise AssertionError("unhandled filestore type")
    except BaseError:
        # The original error may contain the contents of a credentials file.
        raise ConfigError(
            f"{filestore.type} cannot be opened with this configuration",
            remedy="check the bucket name, the region and the credentials files",
            place=Place(key=_KEY),
        ) from None


def _options(settings: ObjectStoreSettings) -> _Options:
    return {
        "client_options": {"timeout": datetime.timedelta(seconds=settings.request_timeout)},
        "retry_config": {"retry_timeout": datetime.timedelta(seconds=settings.retry_timeout)},
    }


def _allow_http(options: _Options, *, allowed: bool) -> _Options:
    return {**options, "client_options": {**options["client_options"], "allow_http": allowed}}


def _directory(config: LocalFilesConfig) -> LocalStore:
    folder = Path(config.path).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".writable").touch()
    except OSError as error:
        raise ConfigError(
            f"{folder} is not writable: {error.strerror}",
            remedy="name a writable directory",
            place=Place(key=f"{_KEY}.path"),
        ) from error
    return LocalStore(folder, mkdir=True)


def _s3(config: S3Config, options: _Options) -> S3Store:
    settings: dict[str, str] = {}
    if config.region:
        settings["region"] = config.region
    if config.role_arn:
        # A Kubernetes service account: the token in the file authenticates for the role.
        settings |= {"role_arn": config.role_arn, "web_identity_token_file": config.token_file}
    elif config.access_key_file:
        settings |= _read_keys(config.access_key_file, config.secret_key_file)
    elif config.credentials_file or config.profile:
        settings |= _read_profile(
            config.credentials_file or "~/.aws/credentials", config.profile or "default"
        )
    if config.endpoint:
        return _s3_with_endpoint(config.bucket, config.endpoint, settings, options)
    return S3Store(config.bucket, config=settings, **options)  # type: ignore[arg-type]


def _minio(config: MinioConfig, options: _Options) -> S3Store:
    # MinIO has no regions, but the signature requires one.
    settings = {"region": "us-east-1", **_read_keys(config.access_key_file, config.secret_key_file)}
    endpoint = config.endpoint if "://" in config.endpoint else f"https://{config.endpoint}"
    store = _s3_with_endpoint(config.bucket, endpoint, settings, options)
    if config.auto_create_bucket:
        _create_bucket(store, config)
    return store


def _s3_with_endpoint(bucket: str, endpoint: str, settings: Mapping[str, str], options: _Options) -> S3Store:
    config = {**settings, "endpoint": endpoint, "virtual_hosted_style_request": "false"}
    plain = endpoint.startswith("http://")
    return S3Store(
        bucket,
        config=config,  # type: ignore[arg-type]
        **_allow_http(options, allowed=plain),
    )


def _create_bucket(store: S3Store, config: MinioConfig) -> None:
    """Request creation of the bucket. If it already exists, the server responds 409 and changes nothing."""
    url = obstore.sign(store, "PUT", "", datetime.timedelta(minutes=5))
    try:
        response = httpx.put(url, timeout=_CREATE_BUCKET_TIMEOUT)
    except httpx.HTTPError as error:
        raise Temporary(f"{_KEY}.endpoint: {config.endpoint} does not respond; check the address") from error
    if response.status_code not in (200, 409):
        raise ConfigError(
            f"bucket {config.bucket} cannot be created (HTTP {response.status_code})",
            remedy="grant the keys permission to create it, or create it manually",
            place=Place(key=f"{_KEY}.autoCreateBucket"),
        )


def _gcs(config: GCSConfig, options: _Options) -> GCSStore:
    if not config.credentials_file:
        return GCSStore(config.bucket, **options)
    key = read_named_file(config.credentials_file, f"{_KEY}.credentialsFile")
    # Plain HTTP is used only if the key file names another address, such as an emulator's.
    return GCSStore(
        config.bucket,
        config={"service_account_key": key},
        **_allow_http(options, allowed=True),
    )


def _read_keys(access_key_file: str, secret_key_file: str) -> dict[str, str]:
    return {
        "access_key_id": read_named_file(access_key_file, f"{_KEY}.accessKeyFile"),
        "secret_access_key": read_named_file(secret_key_file, f"{_KEY}.secretKeyFile"),
    }


def _read_profile(file: str, profile: str) -> dict[str, str]:
    """The keys of a profile in an AWS credentials file."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(read_named_file(str(Path(file).expanduser()), f"{_KEY}.credentialsFile"))
        keys = dict(parser[profile])
        return {
            "access_key_id": keys["aws_access_key_id"],
            "secret_access_key": keys["aws_secret_access_key"],
            **({"session_token": keys["aws_session_token"]} if "aws_session_token" in keys else {}),
        }
    except (configparser.Error, KeyError):
        # The original error may quote a line of the file, and so a key.
        raise ConfigError(
            f"{file} has no profile {profile} with aws_access_key_id and aws_secret_access_key",
            remedy="name a profile that has them, or omit both to use the role of the machine",
            place=Place(key=_KEY),
        ) from None
