"""A third party's package: a layer and a recipe, found through an entry point."""
