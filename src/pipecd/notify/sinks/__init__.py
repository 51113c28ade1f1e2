"""One module per sink. A sink is a function that delivers one event, and raises if it could not."""
