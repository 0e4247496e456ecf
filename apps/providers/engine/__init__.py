"""The pure part of the registry: from verified bytes and rules to one message, without database, clock or settings."""
