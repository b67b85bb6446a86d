"""Tools for the tests of services that use this package.

Example:
    ```python
    from okta_tokens.testing import assert_no_secrets


    def test_the_log_has_no_secrets(caplog):
        ...  # what your service does
        assert_no_secrets(caplog)
    ```
"""

from okta_tokens.testing._no_secrets import assert_no_secrets

__all__ = ["assert_no_secrets"]
