"""Store, the only durable home of everything: its protocol, and its implementation on DynamoDB."""
