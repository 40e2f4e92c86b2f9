package trust

import (
	"bytes"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/trustpool/trustpool/verifier"
)

const (
	maxImport      = 64 << 20
	maxImportTells = 50 // problems
)

// importColumns are the columns that a list of nodes may have.
func importColumns() []string {
	return []string{"name", "address", "pool", "binding", "aliases", "server_name", "labels", "ek_name", "ek_serial", "ek_issuer"}
}

// ParseNodesCSV reads a list of nodes: CSV (RFC 4180) in UTF-8, at most 64 MiB, lines that begin with # left out. The first line names the columns, in any order:
//
//	name,address,pool,binding,aliases,server_name,labels,ek_name,ek_serial,ek_issuer
//	node1.example,node1.example:9443,gold,inventory,node1 10.0.0.1,,rack=7 row=b,000b4d1f...,,
//	node2.example,node2.example:9443,gold,chain,,,,,,
//
// name, address and pool have to be there, the others may be left out. binding is inventory unless it is written. Aliases, and labels as KEY=VALUE, have spaces between them. The
// last three are as in an inventory (verifier.ParseInventory). The error tells all problems at once, one a line, up to a bound.
func ParseNodesCSV(raw []byte) ([]Node, error) {
	if len(raw) > maxImport {
		return nil, fmt.Errorf("reading the list of nodes: %d bytes, more than %d", len(raw), maxImport)
	}
	reader := csv.NewReader(bytes.NewReader(raw))
	reader.Comment = '#'
	rows, err := reader.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("reading the list of nodes: %w", err)
	}
	if len(rows) == 0 {
		return nil, errors.New("reading the list of nodes: it is empty, its first line has to name the columns")
	}
	if err := checkColumns(rows[0]); err != nil {
		return nil, fmt.Errorf("reading the list of nodes: %w", err)
	}

	nodes := make([]Node, 0, len(rows)-1)
	var problems []error
	for i, row := range rows[1:] {
		n, err := importNode(rows[0], row)
		if err == nil {
			err = n.Check()
		}
		if err != nil && len(problems) < maxImportTells {
			problems = append(problems, fmt.Errorf("entry %d (%.64s): %w", i+1, n.Name, err))
		}
		nodes = append(nodes, n)
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("reading the list of nodes: %w", errors.Join(problems...))
	}
	return nodes, nil
}

func checkColumns(columns []string) error {
	for i, c := range columns {
		if !slices.Contains(importColumns(), c) {
			return fmt.Errorf("the column %.32q is unknown, write some of %s", c, strings.Join(importColumns(), ","))
		}
		if slices.Contains(columns[:i], c) {
			return fmt.Errorf("the column %s is there twice", c)
		}
	}
	for _, c := range importColumns()[:3] {
		if !slices.Contains(columns, c) {
			return fmt.Errorf("the column %s is missing", c)
		}
	}
	return nil
}

// importNode reads one line, which has as many fields as the first.
func importNode(columns, row []string) (Node, error) {
	n := Node{Binding: verifier.BindingInventory}
	var errs []error
	for i, c := range columns {
		value := strings.TrimSpace(row[i])
		if value == "" {
			continue
		}
		switch c {
		case "name":
			n.Name = FoldName(value)
		case "address":
			n.Address = value
		case "pool":
			n.Pool = value
		case "binding":
			n.Binding = verifier.EKBinding(value)
		case "aliases":
			n.Aliases = strings.Fields(FoldName(value))
		case "server_name":
			n.ServerName = value
		case "labels":
			labels, err := parseLabels(value)
			n.Labels, errs = labels, append(errs, err)
		case "ek_name":
			name, err := hex.DecodeString(value)
			n.EK.Name, errs = name, append(errs, err)
		case "ek_serial":
			serial, ok := new(big.Int).SetString(strings.ReplaceAll(value, ":", ""), 16)
			if !ok || serial.Sign() < 0 {
				errs = append(errs, errors.New("ek_serial: is no serial number, write its hexadecimal digits"))
			}
			n.EK.Serial = serial
		case "ek_issuer":
			n.EK.Issuer = value
		}
	}
	return n, errors.Join(errs...)
}

func parseLabels(text string) (map[string]string, error) {
	labels := make(map[string]string)
	for _, pair := range strings.Fields(text) {
		key, value, ok := strings.Cut(pair, "=")
		if _, twice := labels[key]; !ok || twice {
			return nil, fmt.Errorf("labels: %.64q is no KEY=VALUE, or a second one of this key", pair)
		}
		labels[key] = value
	}
	return labels, nil
}
