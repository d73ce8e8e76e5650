"""Practice without a person: which task follows which, how the scene is brought back, and when a person is asked."""
