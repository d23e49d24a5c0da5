"""The only durable storage: the store's interface, and the store on DynamoDB."""
