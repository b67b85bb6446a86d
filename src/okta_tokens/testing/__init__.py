"""Test a service that uses this package, without Okta and without waiting.

Example:
    ```python
    from okta_tokens.testing import FakeTokenSource

    async def test_orders_are_listed_with_a_token() -> None:
        source = FakeTokenSource("my-token")

        await list_orders(source)

        assert source.calls == 1
    ```
"""

from okta_tokens.testing._fakes import FakeTokenSource, fake_token
from okta_tokens.testing._manual_clock import ManualClock
from okta_tokens.testing._no_secrets import assert_no_secrets

__all__ = ["FakeTokenSource", "ManualClock", "assert_no_secrets", "fake_token"]
