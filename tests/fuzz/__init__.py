"""Any input from outside: Hypothesis draws inputs in every run, atheris searches for more by hand."""
