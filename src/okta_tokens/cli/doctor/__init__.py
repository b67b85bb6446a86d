"""The doctor: checks that find out why a token cannot be fetched.

Only `command` and `report` know the terminal. The other modules know Okta and the network.
"""
