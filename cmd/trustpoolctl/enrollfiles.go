package main

import (
	"bytes"
	"fmt"
	"os"
	"time"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/verifier"
)

// policy reads all files before a node is asked.
func (f *enrollFlags) policy() (verifier.EnrollPolicy, error) {
	policy := verifier.EnrollPolicy{Node: f.name, RequireTPMTLSKey: f.tpmTLSKey}
	if f.name == "" {
		return policy, console.Usagef("--name is missing: the node's own word for its name is not taken")
	}
	switch {
	case f.inventory != "" && f.firstUse:
		return policy, console.Usagef("give --inventory or --first-use, not both")
	case f.inventory != "":
		policy.Binding = verifier.BindingInventory
	case f.firstUse:
		policy.Binding = verifier.BindingFirstUse
	case len(f.roots) > 0 && f.serverURI != "":
		return policy, console.WithHint(console.Usagef("--ek-roots alone takes the name of the node from its certificate, where --server-uri looks for none"),
			"Give --inventory or --first-use beside it.")
	case len(f.roots) > 0:
		policy.Binding = verifier.BindingChain
	default:
		return policy, console.WithHint(console.Usagef("nothing says what ties the TPM to %s", f.name),
			"Give --inventory, --ek-roots or --first-use; see --help for what each proves.")
	}
	if err := f.read(&policy); err != nil {
		return policy, err
	}
	return policy, checkDemands(policy)
}

// checkDemands finds what makes no sense before a node is asked. Its nonce stands for the one that will be made.
func checkDemands(policy verifier.EnrollPolicy) error {
	policy.Nonce, policy.At = make([]byte, verifier.MinNonceSize), time.Now()
	if check := verifier.Enroll(verifier.Identity{}, policy).Check(verifier.CheckEnrollPolicy); check.Outcome == verifier.Failed {
		return console.Usagef("%s", check.Detail)
	}
	return nil
}

func (f *enrollFlags) read(policy *verifier.EnrollPolicy) (err error) {
	if f.inventory != "" {
		if policy.Inventory, err = parseFile(f.inventory, verifier.ParseInventory); err != nil {
			return err
		}
	}
	if len(f.roots) > 0 {
		var bundle []byte
		for _, path := range f.roots {
			part, err := os.ReadFile(path)
			if err != nil {
				return fmt.Errorf("reading EK roots: %w", err)
			}
			bundle = bytes.Join([][]byte{bundle, part}, []byte("\n"))
		}
		if policy.Roots, err = verifier.ParseEKRoots(bundle); err != nil {
			return err
		}
	}
	for _, path := range f.crls {
		crls, err := parseFile(path, verifier.ParseCRLs)
		if err != nil {
			return err
		}
		policy.CRLs = append(policy.CRLs, crls...)
	}
	if f.refuse != "" {
		policy.RefusedAKs, err = parseFile(f.refuse, verifier.ParseRefuseList)
	}
	return err
}

// parseFile reads a file whose parser says what it is in its errors.
func parseFile[T any](path string, parse func([]byte) (T, error)) (T, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		var none T
		return none, err
	}
	value, err := parse(raw)
	if err != nil {
		return value, fmt.Errorf("%s: %w", path, err)
	}
	return value, nil
}

// writeRecord writes nothing that could not be read again.
func writeRecord(file console.File, record verifier.NodeRecord) error {
	data, err := record.Marshal()
	if err != nil {
		return err
	}
	if _, err := verifier.ParseNodeRecord(data); err != nil {
		return fmt.Errorf("the node's record is of no use: %w", err)
	}
	return file.Write(data)
}
