"""Run the recipes and the diffs of the guides with the software that they are for."""
