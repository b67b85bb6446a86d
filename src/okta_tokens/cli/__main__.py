"""`python -m okta_tokens.cli`: the command where its script is not on the path."""

import sys

from okta_tokens.cli import main

sys.exit(main())
