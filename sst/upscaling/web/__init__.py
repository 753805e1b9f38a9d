"""The web demo: a page on which pictures are dropped, enlarged, compared and downloaded."""
