"""The API against its own OpenAPI document, by schemathesis: no answer that the document does not tell of, no 500."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.server.conftest import Server

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
N_FAST, N_SLOW = 8, 300


def check(server: Server, n_examples: int) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == 6
    for operation in operations:
        modes = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
        cases = st.one_of(
            [operation.as_strategy(generation_mode=mode) for mode in modes[: 2 if operation.method == "post" else 1]]
        )

        @given(case=cases)
        @settings(
            max_examples=n_examples,
            deadline=None,
            phases=[Phase.generate],
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        def conforms(case: schemathesis.Case) -> None:
            case.call_and_validate(checks=CHECKS)

        conforms()


@pytest.mark.filterwarnings("default")
def test_answers_are_as_the_document_says(server: Server) -> None:
    check(server, N_FAST)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_many_answers_are_as_the_document_says(server: Server) -> None:
    check(server, N_SLOW)
