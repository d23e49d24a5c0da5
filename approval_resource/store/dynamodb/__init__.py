"""Store on DynamoDB, the only place that knows AWS."""
