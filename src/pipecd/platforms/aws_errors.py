"""What the errors of AWS mean, and what to do about each: one table of codes, one of messages.

Used by `aws.translate_errors`. Every error that reaches a user ends in a remedy; a test walks the SDK's
models, so that an operation or a code that is added later is found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipecd.errors import AlreadyExists, Conflict, NotFound, PipecdError, Refused, Temporary

_FILES = "correct the application's files"
_SYNC_AGAIN = "sync the application again"
_QUOTA = "request a higher quota in Service Quotas, or remove what is no longer used"
_RENEW = "the credentials have expired; renew them or use a role"
#: `{call}` is the service and the operation.
_ALLOW = "allow the agent's role to call {call}"
_RETRY = "the call is repeated; if it keeps failing, see the AWS Health Dashboard"
DEFAULT_REMEDY = "correct what AWS's message names, then sync again"


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """`error` is raised; `remedy` completes its message."""

    error: type[PipecdError]
    remedy: str


def _meanings(error: type[PipecdError], remedies: Mapping[str, str]) -> Mapping[str, Meaning]:
    return {code: Meaning(error=error, remedy=remedy) for code, remedy in remedies.items()}


#: Error code → meaning.
CODES: Mapping[str, Meaning] = {
    **_meanings(
        NotFound,
        {
            "ResourceNotFoundException": _SYNC_AGAIN,
            "NoSuchEntity": "create the role, or correct its name in the application's files",
            "ServiceNotFoundException": "correct serviceName and cluster, or sync the application again",
            "ServiceNotActiveException": "wait until the service is deleted, then sync again",
            "ClusterNotFoundException": "create the cluster, or correct its name in the application's files",
            "TaskSetNotFoundException": _SYNC_AGAIN,
            "ListenerNotFound": "create the listener again, then sync again",
            "RuleNotFound": "create the listener rule again, then sync again",
            "TargetGroupNotFound": "create the target group, or correct input.targetGroups",
            "LoadBalancerNotFound": "create the load balancer, or correct input.targetGroups",
            "NoSuchKey": "upload the object, or correct s3Key in the function's manifest",
            "ParameterNotFound": "create the parameter, or correct its name",
            "ProvisionedConcurrencyConfigNotFoundException": _SYNC_AGAIN,
            "NamespaceNotFoundException": "create the namespace, or correct serviceConnectConfiguration",
        },
    ),
    **_meanings(
        AlreadyExists,
        {"ResourceConflictException": _SYNC_AGAIN, "ResourceExistsException": _SYNC_AGAIN},
    ),
    **_meanings(
        Conflict,
        {
            "PreconditionFailedException": "it was changed at the same time; sync the application again",
            "ConditionalCheckFailedException": "it was changed at the same time; sync the application again",
        },
    ),
    **_meanings(
        Temporary,
        dict.fromkeys(
            (
                "Throttling",
                "ThrottlingException",
                "ThrottledException",
                "TooManyRequestsException",
                "RequestLimitExceeded",
                "ServiceException",
                "ServerException",
                "InternalFailure",
                "InternalError",
                "InternalServiceException",
                "ServiceUnavailable",
                "UpdateInProgressException",
                "ConcurrentUpdateException",
                "ConflictException",
                "TrustStoreNotReady",
            ),
            _RETRY,
        ),
    ),
    **_meanings(
        Refused,
        {
            **dict.fromkeys(
                ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized"), _ALLOW
            ),
            **dict.fromkeys(
                (
                    "ExpiredToken",
                    "ExpiredTokenException",
                    "InvalidClientTokenId",
                    "UnrecognizedClientException",
                ),
                _RENEW,
            ),
            # Lambda
            "AliasLimitExceededException": "delete aliases of the function that are no longer used",
            "CodeSigningConfigNotFoundException": "create it again, or remove it from the function",
            "CodeStorageExceededException": "delete versions and layers that are no longer used, or request a"
            " higher quota",
            "CodeVerificationFailedException": "sign the package with a profile that the function allows",
            "InvalidCodeSignatureException": "sign the package again; it was changed after it was signed",
            "FunctionVersionsPerCapacityProviderLimitExceededException": "delete versions that use it",
            "InvalidParameterValueException": "correct the value in the function's manifest",
            # ECS
            "BlockedException": "contact AWS support; the account is blocked",
            "ClientException": _FILES,
            "InvalidParameterException": _FILES,
            "LimitExceededException": _QUOTA,
            "PlatformTaskDefinitionIncompatibilityException": "correct platformVersion",
            "PlatformUnknownException": "correct platformVersion in the service definition",
            "UnsupportedFeatureException": "remove the feature; the region does not have it",
            # Load balancers
            "ALPNPolicyNotFound": "correct the ALPN policy of the listener",
            "CertificateNotFound": "replace the certificate of the listener",
            "DuplicateListener": "delete one of the two listeners of this port",
            "IncompatibleProtocols": "use target groups whose protocol matches that of the listener",
            "InvalidConfigurationRequest": "correct the listener in AWS, then sync again",
            "InvalidLoadBalancerAction": "correct the actions of the listener rule in AWS, then sync again",
            "OperationNotPermitted": "correct the listener rule in AWS, then sync again",
            "SSLPolicyNotFound": "correct the security policy of the listener",
            "TargetGroupAssociationLimit": "use target groups that no other load balancer uses",
            "TooManyActions": "remove actions from the listener or rule",
            "TooManyCertificates": "remove certificates from the listener",
            "TooManyListeners": "remove listeners from the load balancer",
            "TooManyRegistrationsForTargetId": "remove the target from other target groups",
            "TooManyTargets": "remove targets from the target groups",
            "TooManyUniqueTargetGroupsPerLoadBalancer": "remove target groups from its rules",
            "TrustStoreNotFound": "correct the trust store of the listener",
            "UnsupportedProtocol": "correct the protocol of the listener or target group",
            # Application Auto Scaling
            "InvalidNextTokenException": _SYNC_AGAIN,
            "ValidationException": _FILES,
        },
    ),
}

#: Part of a message → meaning. AWS uses the same code for many causes; these are distinguished.
MESSAGES: Sequence[tuple[str, str, Meaning]] = (
    # ECS has no separate error code for a missing task definition.
    (
        "ClientException",
        "Unable to describe task definition",
        Meaning(error=NotFound, remedy="register the task definition by syncing the application again"),
    ),
    (
        "ClientException",
        "task definition does not exist",
        Meaning(error=NotFound, remedy="register the task definition by syncing the application again"),
    ),
    # Lambda uses the same code while another change is in progress.
    *(
        (code, phrase, Meaning(error=Temporary, remedy=_RETRY))
        for code in ("ResourceConflictException", "ResourceExistsException")
        for phrase in ("in progress", "cannot be performed at this time", "Pending")
    ),
    (
        "InvalidParameterValueException",
        "packageType",
        Meaning(error=Refused, remedy="give the function another name, or delete it and sync again"),
    ),
    (
        "InvalidParameterValueException",
        "Provisioned Concurrency",
        Meaning(
            error=Refused,
            remedy="wait until the alias has no weights, or remove its provisioned concurrency",
        ),
    ),
    (
        "InvalidParameterValueException",
        "role defined for the function cannot be assumed",
        Meaning(error=Refused, remedy="let lambda.amazonaws.com assume the role, or correct spec.role"),
    ),
    (
        "InvalidParameterException",
        "exceeds the maximum limit",
        Meaning(error=Refused, remedy="delete unused task sets of the service, then sync again"),
    ),
    (
        "InvalidParameterException",
        "does not have an associated load balancer",
        Meaning(error=Refused, remedy="create a listener rule that forwards to the target group"),
    ),
    (
        "InvalidParameterException",
        "capacity provider",
        Meaning(error=Refused, remedy="add the capacity provider to the cluster, or correct the strategy"),
    ),
    (
        "InvalidParameterException",
        "service linked role",
        Meaning(error=Refused, remedy="remove role from the service definition"),
    ),
)


def meaning(code: str, message: str, status: int) -> Meaning:
    """The meaning of an error with this code, message and HTTP status. Its remedy may contain `{call}`."""
    for message_code, phrase, found in MESSAGES:
        if code == message_code and phrase.lower() in message.lower():
            return found
    if code in CODES:
        return CODES[code]
    if status >= 500:
        return Meaning(error=Temporary, remedy=_RETRY)
    if status == 403:
        return Meaning(error=Refused, remedy=_ALLOW)
    return Meaning(error=Refused, remedy=DEFAULT_REMEDY)
