"""`python -m okta_tokens.cli`: the command for when its script is not on the `PATH`."""

import sys

from okta_tokens.cli import main

sys.exit(main())
