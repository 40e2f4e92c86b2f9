package verifier

import (
	"bytes"
	"crypto/subtle"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

const (
	maxInventorySize = 64 << 20
	maxNodeName      = 253 // RFC 1035, 2.3.4, as text
)

// Inventory says which EK each node has, as it was known before first contact: from the vendor's delivery list, or read at the machine. The zero value knows no node.
type Inventory struct{ entries map[string][]inventoryEntry }

// inventoryEntry is one EK of a node: by its Name, by its certificate, or by both.
type inventoryEntry struct {
	ekName []byte
	serial *big.Int
	issuer string
}

// inventoryColumns is the first line of an inventory.
func inventoryColumns() []string { return []string{"node", "ek_name", "ek_serial", "ek_issuer"} }

// ParseInventory reads an inventory: CSV (RFC 4180) in UTF-8, at most 64 MiB, lines that begin with # left out. The first line names the columns:
//
//	node,ek_name,ek_serial,ek_issuer
//	node1.example,000b4d1f...,,
//	node2.example,,30:82:0a:...,"CN=Maker EK CA 7,O=Maker,C=DE"
//
// ek_name is the EK's Name in hexadecimal digits: its nameAlg and the digest of its public area (Part 1, 16). ek_serial is the serial number of its certificate, in hexadecimal digits with
// or without colons, and ek_issuer the certificate's issuer as RFC 2253 writes it; they go together, and bind only with roots of the maker, since anybody can write such a certificate.
// Where a line has both, both have to fit. A node with several EKs has several lines. An EK that belongs to two nodes is an error.
//
// The error tells all problems at once, one a line.
func ParseInventory(raw []byte) (Inventory, error) {
	if len(raw) > maxInventorySize {
		return Inventory{}, fmt.Errorf("reading the inventory: %d bytes, more than %d", len(raw), maxInventorySize)
	}
	reader := csv.NewReader(bytes.NewReader(raw))
	reader.Comment = '#'
	rows, err := reader.ReadAll()
	if err != nil {
		return Inventory{}, fmt.Errorf("reading the inventory: %w", err)
	}
	if len(rows) == 0 || !slices.Equal(rows[0], inventoryColumns()) {
		return Inventory{}, fmt.Errorf("reading the inventory: its first line has to be %s", strings.Join(inventoryColumns(), ","))
	}

	inv := Inventory{entries: make(map[string][]inventoryEntry)}
	owners := make(map[string]string)
	var problems []error
	for i, row := range rows[1:] {
		if err := inv.add(row, owners); err != nil && len(problems) < 50 {
			problems = append(problems, fmt.Errorf("entry %d: %w", i+1, err))
		}
	}
	if len(problems) > 0 {
		return Inventory{}, fmt.Errorf("reading the inventory: %w", errors.Join(problems...))
	}
	return inv, nil
}

// add reads one line. owners has the node of each EK met so far.
func (inv *Inventory) add(row []string, owners map[string]string) error {
	node := row[0]
	if err := checkNodeName(node); err != nil {
		return fmt.Errorf("node: %w", err)
	}
	entry, err := parseInventoryEntry(row[1], row[2], row[3])
	if err != nil {
		return err
	}

	for _, key := range entry.keys() {
		if other, taken := owners[key]; taken && other != node {
			return fmt.Errorf("this EK is that of %s already", safeText(other))
		}
		owners[key] = node
	}
	inv.entries[node] = append(inv.entries[node], entry)
	return nil
}

func parseInventoryEntry(name, serial, issuer string) (inventoryEntry, error) {
	var entry inventoryEntry
	if name == "" && serial == "" {
		return entry, errors.New("has neither ek_name nor ek_serial, write one")
	}
	if (serial == "") != (issuer == "") {
		return entry, errors.New("ek_serial and ek_issuer go together, write both")
	}
	if name != "" {
		raw, err := parseName(name)
		if err != nil {
			return entry, fmt.Errorf("ek_name: %w", err)
		}
		entry.ekName = raw
	}
	if serial != "" {
		raw, err := parseSerial(serial)
		if err != nil {
			return entry, fmt.Errorf("ek_serial: %w", err)
		}
		entry.serial, entry.issuer = raw, issuer
	}
	return entry, nil
}

// parseSerial reads a certificate's serial number (RFC 5280, 4.1.2.2: at most 20 octets).
func parseSerial(text string) (*big.Int, error) {
	digits := strings.ReplaceAll(text, ":", "")
	if len(digits)%2 == 1 {
		digits = "0" + digits
	}
	raw, err := hex.DecodeString(digits)
	if err != nil || len(raw) == 0 || len(raw) > 21 {
		return nil, errors.New("is no serial number, write its hexadecimal digits")
	}
	return new(big.Int).SetBytes(raw), nil
}

func (e *inventoryEntry) keys() []string {
	var keys []string
	if e.ekName != nil {
		keys = append(keys, string(e.ekName))
	}
	if e.serial != nil {
		keys = append(keys, e.serial.Text(16)+" "+e.issuer)
	}
	return keys
}

// needsCertificate tells whether one of the node's EKs is known by its certificate.
func (inv *Inventory) needsCertificate(node string) bool {
	return slices.ContainsFunc(inv.entries[node], func(e inventoryEntry) bool { return e.serial != nil })
}

// check compares an EK, and its certificate where it has led to a root, with what the inventory knows of the node.
func (inv *Inventory) check(node string, k *ek, cert *ekCertificate) error {
	entries := inv.entries[node]
	if len(entries) == 0 {
		return fmt.Errorf("the inventory does not know the node %s", node)
	}
	if slices.ContainsFunc(entries, func(e inventoryEntry) bool { return e.fits(k, cert) }) {
		return nil
	}

	failure := mismatch{detail: fmt.Sprintf("the EK is not the one that the inventory names for %s", node), got: k.name}
	if cert != nil {
		failure.detail += fmt.Sprintf("; its certificate is %x of %s", cert.SerialNumber, safeText(cert.Issuer.String()))
	}
	for _, e := range entries {
		if e.ekName != nil {
			failure.expected = e.ekName
		}
	}
	return failure
}

func (e *inventoryEntry) fits(k *ek, cert *ekCertificate) bool {
	if e.ekName != nil && subtle.ConstantTimeCompare(e.ekName, k.name) != 1 {
		return false
	}
	if e.serial != nil && (cert == nil || e.serial.Cmp(cert.SerialNumber) != 0 || e.issuer != cert.Issuer.String()) {
		return false
	}
	return e.ekName != nil || e.serial != nil
}

// checkNodeName: the name that an operator calls a node by, in lower case so that it is written in one way: letters, digits, dots, dashes, underscores.
func checkNodeName(node string) error {
	if node == "" || len(node) > maxNodeName || strings.Trim(node, "abcdefghijklmnopqrstuvwxyz0123456789.-_:") != "" || strings.Trim(node, "-.") != node {
		return fmt.Errorf("%s is no name of a node, write its host name in lower case", safeText(node))
	}
	return nil
}
