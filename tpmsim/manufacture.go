package tpmsim

func manufacture(m *machine) (manifest, error) { return manifest{Manufactured: true}, nil }
