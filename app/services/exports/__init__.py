"""Exports: what can be asked for, how the file is made, where it is kept and when it goes."""
