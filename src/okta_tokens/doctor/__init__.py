"""Find out why a token cannot be fetched, or what may fail soon.

The doctor connects to Okta step by step, requests tokens, and says for each problem what to do.
`okta-tokens doctor` prints the same results.

Example:
    ```python
    from okta_tokens.doctor import diagnose

    diagnosis = await diagnose(client, "orders:read", store=store)
    if not diagnosis.ok:
        log.error("no token for orders:read", diagnosis=diagnosis.as_dict())
    ```
"""

from okta_tokens.doctor._diagnosis import Diagnosis, Outcome, Result
from okta_tokens.doctor._doctor import check_names, diagnose

__all__ = ["Diagnosis", "Outcome", "Result", "check_names", "diagnose"]
