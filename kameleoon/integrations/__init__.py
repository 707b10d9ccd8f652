"""One thin file for each web framework, over the cookie rules of `kameleoon.cookies`."""
