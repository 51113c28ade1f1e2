"""Whether an object works: `rules` judges it by the table in `kinds`, and returns one of `states`."""
