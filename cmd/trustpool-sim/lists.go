package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
)

// The files for a server.
const (
	nodesFile     = "nodes.csv"
	inventoryFile = "inventory.csv"
	rootsFile     = "ek-roots.pem"
)

// writeLists writes what a server needs to enrol the nodes.
func (f *fleet) writeLists() error {
	nodes := [][]string{{"name", "address", "pool", "binding", "aliases", "ek_name"}}
	inventory := [][]string{{"node", "ek_name", "ek_serial", "ek_issuer"}}

	var roots bytes.Buffer

	for _, n := range f.nodes {
		s := n.state()
		nodes = append(nodes, []string{s.Name, s.Address, n.pool, "inventory", n.short, s.EKName})
		inventory = append(inventory, []string{s.Name, s.EKName, "", ""})
		roots.Write(n.ekRoots)
	}

	for name, rows := range map[string][][]string{nodesFile: nodes, inventoryFile: inventory} {
		var text bytes.Buffer
		if err := csv.NewWriter(&text).WriteAll(rows); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}

		if err := os.WriteFile(filepath.Join(f.dir, name), text.Bytes(), 0o600); err != nil {
			return fmt.Errorf("writing the lists: %w", err)
		}
	}

	if err := os.WriteFile(filepath.Join(f.dir, rootsFile), roots.Bytes(), 0o600); err != nil {
		return fmt.Errorf("writing the lists: %w", err)
	}

	return nil
}
