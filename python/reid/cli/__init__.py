"""The command line: each command is one file here and one public function elsewhere."""
