"""The README's recipes, each as it stands there, with what it is a recipe for."""
