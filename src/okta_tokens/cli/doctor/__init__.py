"""`okta-tokens doctor`: the command prints the results of `okta_tokens.doctor`."""
