"""The HTTP face: the only importer of Flask and marshmallow. Decides nothing; turns requests into calls and back."""
