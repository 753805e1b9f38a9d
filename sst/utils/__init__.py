"""Small tools without a place of their own; they import nothing else of sst."""
