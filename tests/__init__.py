"""The tests: one file per module of the package, and some for what no single module promises."""
