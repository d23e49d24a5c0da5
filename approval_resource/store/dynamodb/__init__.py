"""The store on DynamoDB. No other package calls AWS."""
