"""The tested implementations behind the course *From Formula to Picture*.

One module a chapter, importable on its own: ``from course_lib.convolution import conv2d``.
Importing the package itself imports nothing else.
"""

__version__ = "0.1.0"
