"""The options of the ANALYSIS stage, and files of `kind: AnalysisTemplate`."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, model_validator

from pipecd.config.decode import LenientModel, StrictModel, decode
from pipecd.config.document import Document
from pipecd.config.stages import SkipOn
from pipecd.config.values import Base64, Duration, HttpUrl, Text
from pipecd.errors import ConfigError
from pipecd.model.analysis import Strategy
from pipecd.model.mannwhitney import Alternative
from pipecd.patterns import PatternError, Regex

KIND = "AnalysisTemplate"
#: Entries of one stage.
MAX_ENTRIES = 50
#: Prefix of an `expectedResponse` that is a regular expression.
REGEX_PREFIX = "re:"


class TemplateReference(StrictModel):
    name: str = Field(min_length=1)
    """Name of an entry in the analysis template of the repository."""
    app_args: Mapping[str, Text] = Field(default_factory=dict)
    """Values for `{{ .AppArgs.<name> }}` in the query."""


class Expected(StrictModel):
    min: float | None = None
    """Least expected value."""
    max: float | None = None
    """Greatest expected value."""

    @model_validator(mode="after")
    def _has_limit(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("one of min and max must be given")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is greater than max {self.max:g}")
        return self


class AnalysisEntry(StrictModel):
    """The keys of all entries."""

    template: TemplateReference | None = None
    """Use an entry of the analysis template. Keys that are written here replace its keys."""
    interval: Duration = timedelta()
    """Time between two checks; a query covers the same time. The first check is after one interval."""
    initial_delay: Duration = timedelta()
    """Time before the first interval begins, for a version that has to warm up. Not in PipeCD."""
    failure_limit: int = Field(default=0, ge=0)
    """Number of failed checks that are tolerated."""
    skip_on_no_data: bool = False
    """A check without data is no failure."""
    timeout: Duration = timedelta(seconds=30)
    """Timeout of one check."""
    consecutive_error_limit: int = Field(default=4, ge=0)
    """Number of errors in a row that are tolerated. Not in PipeCD, where each error is a failed check."""


class MetricsEntry(AnalysisEntry):
    strategy: Strategy = Strategy.THRESHOLD
    """What the values are compared with: `THRESHOLD` with `expected`, `PREVIOUS` with those during the last
    successful analysis, `CANARY_BASELINE` and `CANARY_PRIMARY` the canary's with those of the other variant.
    """
    provider: str = ""
    """Name of the analysis provider in the agent's configuration."""
    query: str = ""
    """Query in the provider's language, a template with `{{ .Variant.Name }}` and others."""
    expected: Expected | None = None
    """Expected range of every value; required for `THRESHOLD`."""
    deviation: Alternative = Alternative.DIFFERENT
    """Which deviation is a failure: `EITHER`, `HIGH` or `LOW`."""
    canary_args: Mapping[str, Text] = Field(default_factory=dict)
    """Values for `{{ .VariantArgs.<name> }}` in the query for the canary."""
    baseline_args: Mapping[str, Text] = Field(default_factory=dict)
    """Values for `{{ .VariantArgs.<name> }}` in the query for the baseline."""
    primary_args: Mapping[str, Text] = Field(default_factory=dict)
    """Values for `{{ .VariantArgs.<name> }}` in the query for the primary variant."""
    inconclusive_limit: int | None = Field(default=None, ge=0)
    """Number of inconclusive checks that are tolerated. Default: all but one. Not in PipeCD."""
    min_points: int = Field(default=3, ge=1)
    """Values of each variant that a comparison needs; with fewer it is inconclusive. Not in PipeCD."""
    min_difference: float = Field(default=0.0, ge=0, le=10)
    """Relative difference of the medians below which nothing deviates. Not in PipeCD."""
    alpha: float = Field(default=0.05, gt=0, lt=1)
    """Level of significance of a comparison: a smaller one finds fewer deviations. Not in PipeCD."""


class LogEntry(AnalysisEntry):
    provider: str = ""
    """Name of the analysis provider in the agent's configuration."""
    query: str = ""
    """Query in the provider's language: LogQL, Logs Insights of CloudWatch, or a filter of Cloud Logging.
    Every line that it finds is a failure.
    """


class Header(StrictModel):
    key: str = Field(min_length=1)
    """Name of the header."""
    value: Text
    """Value of the header."""


class HttpEntry(AnalysisEntry):
    url: str = ""
    """URL to request."""
    method: str = "GET"
    """Method of the request."""
    headers: Sequence[Header] = ()
    """Headers of the request."""
    expected_code: int = 0
    """Expected status of the answer."""
    expected_response: str = ""
    """Text that the answer must contain, or a regular expression after `re:`. Not implemented by PipeCD."""

    @property
    def response_pattern(self) -> Regex | None:
        if not self.expected_response.startswith(REGEX_PREFIX):
            return None
        return Regex.parse(self.expected_response.removeprefix(REGEX_PREFIX))

    @model_validator(mode="after")
    def _valid_pattern(self) -> Self:
        try:
            _ = self.response_pattern
        except PatternError as error:
            raise ValueError(f"expectedResponse: {error}") from None
        return self


Entry = TypeVar("Entry", bound=AnalysisEntry)


def missing_keys(entry: AnalysisEntry) -> str:
    """What is missing in a complete entry, as a sentence; empty if nothing is."""
    match entry:
        case MetricsEntry():
            required = {"provider": entry.provider, "query": entry.query, "interval": entry.interval}
            if entry.strategy is Strategy.THRESHOLD:
                required["expected"] = entry.expected
        case LogEntry():
            required = {"provider": entry.provider, "query": entry.query, "interval": entry.interval}
        case HttpEntry():
            required = {"url": entry.url, "interval": entry.interval, "expectedCode": entry.expected_code}
        case _:
            required = {}
    missing = [name for name, value in required.items() if not value]
    return f"{', '.join(missing)} must be given" if missing else ""


def _complete(entry: Entry) -> Entry:
    if entry.template is None and (missing := missing_keys(entry)):
        raise ValueError(missing)
    return entry


class AnalysisOptions(LenientModel):
    duration: Duration
    """How long the analysis takes."""
    restart_threshold: int = 0
    """Not used. Accepted for compatibility with PipeCD."""
    metrics: Sequence[Annotated[MetricsEntry, AfterValidator(_complete)]] = Field(
        default=(), max_length=MAX_ENTRIES
    )
    """Metrics to check."""
    logs: Sequence[Annotated[LogEntry, AfterValidator(_complete)]] = Field(default=(), max_length=MAX_ENTRIES)
    """Logs to check."""
    https: Sequence[Annotated[HttpEntry, AfterValidator(_complete)]] = Field(
        default=(), max_length=MAX_ENTRIES
    )
    """URLs to check."""
    skip_on: SkipOn = SkipOn()
    """When the stage is skipped."""

    @model_validator(mode="after")
    def _intervals(self) -> Self:
        if not self.duration:
            raise ValueError("duration must be given, such as 10m")
        for entry in (*self.metrics, *self.logs, *self.https):
            check_interval(entry, self.duration)
        return self


def check_interval(entry: AnalysisEntry, duration: timedelta) -> None:
    """Raises ValueError if the entry would never be checked."""
    if entry.initial_delay + entry.interval > duration:
        after = f" after {entry.initial_delay.total_seconds():g} s" if entry.initial_delay else ""
        raise ValueError(
            f"an interval of {entry.interval.total_seconds():g} s{after} is longer than the duration of"
            f" {duration.total_seconds():g} s: nothing would be checked"
        )


class AnalysisTemplateSpec(StrictModel):
    """`spec` of `kind: AnalysisTemplate`, in the directory `.pipe` of a repository."""

    metrics: Mapping[str, MetricsEntry] = Field(default_factory=dict)
    """Entries for `metrics` by name."""
    logs: Mapping[str, LogEntry] = Field(default_factory=dict)
    """Entries for `logs` by name."""
    https: Mapping[str, HttpEntry] = Field(default_factory=dict)
    """Entries for `https` by name."""


def decode_template(document: Document) -> AnalysisTemplateSpec:
    """Raises ConfigError."""
    return decode(AnalysisTemplateSpec, document.spec, document, ("spec",))


def merge_template(entry: Entry, templates: Mapping[str, Entry]) -> Entry:
    """The entry with the keys of its template that it does not write itself. Raises ConfigError."""
    if entry.template is None:
        return entry
    name = entry.template.name
    template = templates.get(name)
    if template is None:
        raise ConfigError(
            f"the analysis template has no entry {name}",
            remedy=f"correct template.name; there are: {', '.join(sorted(templates)) or 'none'}",
        )
    written = {key: getattr(entry, key) for key in entry.model_fields_set}
    merged = template.model_copy(update=written)
    if missing := missing_keys(merged):
        raise ConfigError(f"the analysis template {name} is not complete: {missing}", remedy="add the keys")
    return merged


class PrometheusConfig(LenientModel):
    address: HttpUrl = Field(min_length=1)
    """URL of the Prometheus server, or of one with the same API."""
    username_file: str = ""
    """Path of a file that contains the user name for basic authentication."""
    password_file: str = ""
    """Path of a file that contains the password for basic authentication."""
    bearer_token_file: str = ""
    """Path of a file that contains a bearer token. Not in PipeCD."""
    headers: Mapping[str, Text] = Field(default_factory=dict)
    """Headers of every request, such as the tenant of Mimir. Not in PipeCD."""


class DatadogConfig(LenientModel):
    address: str = "datadoghq.com"
    """Site of Datadog."""
    api_key_file: str = ""
    """Path of a file that contains the API key."""
    api_key_data: Base64 = ""
    """The API key in base64, instead of `apiKeyFile`."""
    application_key_file: str = ""
    """Path of a file that contains the application key."""
    application_key_data: Base64 = ""
    """The application key in base64, instead of `applicationKeyFile`."""

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if bool(self.api_key_file) == bool(self.api_key_data):
            raise ValueError("exactly one of apiKeyFile and apiKeyData must be given")
        if bool(self.application_key_file) == bool(self.application_key_data):
            raise ValueError("exactly one of applicationKeyFile and applicationKeyData must be given")
        return self


class CloudMonitoringConfig(LenientModel):
    service_account_file: str = ""
    """Path of a credentials file. Empty: the application default credentials."""
    project: str = ""
    """Id of the Google Cloud project. Not in PipeCD, which cannot query Cloud Monitoring."""
    endpoint: HttpUrl = ""
    """URL of the API, for private access. Default: https://monitoring.googleapis.com."""
    logging_endpoint: HttpUrl = ""
    """URL of the API of Cloud Logging, for `logs`. Default: https://logging.googleapis.com."""


class CloudWatchConfig(LenientModel):
    region: str = Field(min_length=1)
    """AWS region."""
    profile: str = ""
    """Profile of the AWS configuration."""
    credentials_file: str = ""
    """Path of a shared credentials file."""
    role_arn: str = Field(default="", alias="roleARN")
    """ARN of the role to assume with `tokenFile`."""
    token_file: str = ""
    """Path of a web identity token."""
    log_groups: Sequence[Annotated[str, Field(min_length=1)]] = Field(default=(), max_length=50)
    """Names of the log groups that `logs` are read from."""


class LokiConfig(PrometheusConfig):
    address: HttpUrl = Field(min_length=1)
    """URL of the Loki server."""


ProviderType = Literal["PROMETHEUS", "DATADOG", "STACKDRIVER", "CLOUDWATCH", "LOKI"]
#: Type of an analysis provider → the type of its `config`.
PROVIDER_CONFIGS: Mapping[str, type[StrictModel]] = {
    "PROMETHEUS": PrometheusConfig,
    "DATADOG": DatadogConfig,
    "STACKDRIVER": CloudMonitoringConfig,
    "CLOUDWATCH": CloudWatchConfig,
    "LOKI": LokiConfig,
}


def decode_provider(provider_type: str, config: Mapping[str, Any], document: Document, index: int) -> Any:
    """The decoded `config` of the agent's analysis provider number `index`. Raises ConfigError."""
    path = ("spec", "analysisProviders", index, "config")
    return decode(PROVIDER_CONFIGS[provider_type], config, document, path)
