"""Is a data set fit to be used, and what for? What `reid-data check` and `reid-data stats` say."""
