"""Valid and invalid requests that Schemathesis generates from an OpenAPI description.

Answers must be as described.

Imported where it is used: importing Schemathesis takes a second.
"""

from collections.abc import Callable, Mapping
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

#: No description lists the status 500.
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


def send_generated_requests(document: Mapping[str, Any], base_of: Callable[[str], str]) -> None:
    """Send requests for each operation of `document`; `base_of` is the URL below which a path is served.

    Raises an error if an answer is not as described.
    """
    schema: Any = schemathesis.openapi.from_dict(dict(document))
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) == sum(len(item.keys() - {"servers"}) for item in document["paths"].values())
    with requests.Session() as session:
        for operation in operations:
            base = base_of(operation.path)
            _check(operation, base, session, GenerationMode.POSITIVE)
            # Only JSON can be of another form: every text is a valid parameter or field of a form.
            if operation.path.startswith("/api/"):
                _check(operation, base, session, GenerationMode.NEGATIVE)


def _check(operation: Any, base: str, session: requests.Session, mode: GenerationMode) -> None:
    @EXAMPLES
    @given(operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        response = case.call(base_url=base, session=session, allow_redirects=False)
        case.validate_response(response, checks=CHECKS)

    send()
