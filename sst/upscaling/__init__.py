"""The program that enlarges files: what the command line asks for, the files it means, and the work on them."""
