"""What may come from outside, drawn by Hypothesis in CI and hunted by coverage by hand."""
