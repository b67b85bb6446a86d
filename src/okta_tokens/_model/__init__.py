"""The values that the package works with: clients, keys, tokens, scopes, policies and URLs."""
