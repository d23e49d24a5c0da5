"""The image, built once for all tests here."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from approval_resource.store.interface import Connection
from tests.image.workshop import ROOT, ToolMissingError, Workshop, workshop

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def missing(error: ToolMissingError) -> None:
    """Without its tools a test says nothing: skipped on a desk, a failure in CI."""
    if os.environ.get("CI"):
        pytest.fail(str(error))
    pytest.skip(str(error))


@pytest.fixture(scope="session")
def shop() -> Iterator[Workshop]:
    """Where images are built and run."""
    try:
        with workshop() as opened:
            yield opened
    except ToolMissingError as error:
        missing(error)


@pytest.fixture(scope="session")
def base(shop: Workshop) -> str:
    """What the image is built on here."""
    try:
        return shop.base(shop.architecture())
    except ToolMissingError as error:
        missing(error)
        raise


@pytest.fixture(scope="session")
def image(shop: Workshop, base: str) -> str:
    """The image."""
    return shop.build("approval-resource", base, DOCKERFILE, "--build-arg=VERSION=1.2.3", "--build-arg=REVISION=abc")


@pytest.fixture(scope="session")
def service_image(shop: Workshop, base: str, image: str) -> str:
    """The image of the reviewers' service."""
    arguments = ("--target=service", "--build-arg=VERSION=1.2.3", "--build-arg=REVISION=abc")
    return shop.build("approval-resource-service", base, DOCKERFILE, *arguments)


@pytest.fixture
def source(connection: Connection) -> dict[str, str]:
    """The source of a pool that nobody uses."""
    return {
        "pool": "payments",
        "AWS_ACCESS_KEY_ID": connection.access_key_id,
        "AWS_SECRET_ACCESS_KEY": connection.secret_access_key,
        "AWS_DEFAULT_REGION": connection.region,
        "endpoint_url": connection.endpoint_url,
        "table": connection.table,
    }
