"""`okta-tokens sandbox`: run the Okta-like server of `okta_tokens.sandbox`, and steer it."""
