"""What the measuring scripts share: the machine, and files of results."""
