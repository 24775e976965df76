"""The version of this library, which the log names with every claim."""

VERSION = "0.1.0"
