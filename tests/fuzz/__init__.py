"""Any input from outside: Hypothesis draws it in every run; atheris searches for more by hand."""
