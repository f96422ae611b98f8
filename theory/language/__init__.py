"""The grammar of claims: text to matrix expressions by a whitelist."""
