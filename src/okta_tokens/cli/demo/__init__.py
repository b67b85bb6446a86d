"""The demo: three scenarios on a sandbox, and figures that show how they went."""
