"""Strict decoding of all YAML files PipeCD reads. Every error names file, line, key and remedy."""
