"""Layouts of data sets on disk, one file each; `reid.data.readers` tells them apart.

Each file holds a function that says whether a folder looks like the layout (its marks are enough: what is missing
is then named), a function on names that needs no pictures, and the reader.
"""
