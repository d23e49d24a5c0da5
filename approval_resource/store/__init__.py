"""The only durable home of everything: what a store must do, and the one on DynamoDB."""
