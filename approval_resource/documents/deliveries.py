"""Progress of channels and records of deliveries as stored, and back."""

from __future__ import annotations

from approval_resource.documents.codec import INSTANT, NUMBER, TEXT, WHEN, Codec, field, mapping_of
from approval_resource.model.delivery import Delivery, Progress

PROGRESS = Codec(
    Progress,
    lambda document: f"progress of channel {document.get('channel', '')}",
    field("channel", TEXT),
    field("holder", TEXT),
    field("until", WHEN),
    field("cursors", mapping_of(INSTANT)),
    field("failing_since", WHEN),
    field("tries", NUMBER),
    field("retry_at", WHEN),
    field("error", TEXT),
    field("refused", TEXT, sparse=True),
    field("refusals", NUMBER, sparse=True),
    field("skipped", NUMBER),
    field("lost", NUMBER, sparse=True),
    field("told_at", WHEN),
    field("digest", TEXT),
    field("revision", NUMBER),
)
DELIVERY = Codec(
    Delivery,
    lambda document: f"delivery of claim {document.get('id', '')} to channel {document.get('channel', '')}",
    field("channel", TEXT),
    field("id", TEXT, "claim_id"),
    field("pool", TEXT),
    field("ref", TEXT),
    field("told", WHEN),
    field("reminded", WHEN),
    field("at", WHEN),
    field("revision", NUMBER),
)
