"""Presigned requests for GetCallerIdentity, by which a service learns from STS who its caller is."""

from __future__ import annotations

import base64
from urllib.parse import urlsplit

from botocore.signers import RequestSigner

from approval_resource.errors import ConfigError, StoreUnavailableError
from approval_resource.store.dynamodb.connect import session_of
from approval_resource.store.dynamodb.credentials import CREDENTIAL_ERRORS, sts_config
from approval_resource.store.interface import Connection

PREFIX = "aws-sts-v1."
"""Beginning of the tokens that hold a presigned request."""
HEADER = "x-approval-service"
"""Header that names the one service that a presigned request is for, so that no other accepts it."""
SECONDS = 60
"""Period for which a presigned request can be used."""


def presigned_token(connection: Connection, service: str) -> str:
    """Return a token that tells the service at that address, and no other, who its caller is.

    Raises:
        ConfigError, StoreUnavailableError: as `presigned_identity`.
    """
    address = presigned_identity(connection, {HEADER: service})
    return PREFIX + base64.urlsafe_b64encode(address.encode()).rstrip(b"=").decode()


def presigned_identity(connection: Connection, headers: dict[str, str]) -> str:
    """Return the address of a request that tells who signed it, to be sent with those headers alone.

    Raises:
        ConfigError: AWS's settings can't be used.
        StoreUnavailableError: there are no credentials to sign with.
    """
    try:
        session = session_of(connection)
        client = session.create_client("sts", config=sts_config())
        credentials = session.get_credentials()
        if credentials is None:
            raise StoreUnavailableError("there are no AWS credentials to prove who you are with; sign in to AWS first")
        region = client.meta.region_name
        signer = RequestSigner(
            client.meta.service_model.service_id, region, "sts", "v4", credentials, session.get_component("event_emitter")
        )
        address = urlsplit(client.meta.endpoint_url)
        request = {
            "method": "GET",
            "url": f"{address.scheme}://{address.netloc}/?Action=GetCallerIdentity&Version=2011-06-15",
            "body": {},
            "headers": headers,
            "context": {},
        }
        return str(signer.generate_presigned_url(request, region_name=region, expires_in=SECONDS, operation_name=""))
    except ConfigError:
        raise
    except CREDENTIAL_ERRORS as error:
        raise StoreUnavailableError(f"AWS credentials could not be used ({type(error).__name__})") from error
