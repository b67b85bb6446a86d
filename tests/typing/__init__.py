"""What type checkers see of the package: `.ci/run` checks these programs as a user would."""
