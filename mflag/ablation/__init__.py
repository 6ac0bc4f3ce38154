"""Variants of a recipe, trained with several seeds, evaluated and compared."""
