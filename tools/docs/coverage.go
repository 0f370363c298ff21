package main

func coveragePage() ([]byte, error) { return []byte("# Coverage\n"), nil }
