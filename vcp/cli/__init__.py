"""The command line. Of the whole package only this part reads a clock (for `--now`), files and the standard streams."""
