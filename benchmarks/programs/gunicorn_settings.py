"""Nothing: the service's own settings are not meant here."""
