"""Every YAML file that PipeCD reads, decoded strictly: file, line, key and remedy in each error."""
