package server

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/trustpool/trustpool/server/internal/challenge"
	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/verifier"
)

// roots reads which TPM makers are trusted. Without files nobody is, and no node can be enrolled by the chain of its EK certificate.
func (c NodesConfig) roots() (challenge.Roots, error) {
	var all challenge.Roots
	if len(c.EKRoots) > 0 {
		var bundle []byte
		for i, path := range c.EKRoots {
			part, err := os.ReadFile(path) // #nosec G304 -- the operator's config names the file
			if err != nil {
				return challenge.Roots{}, fmt.Errorf("nodes.ek_roots[%d]: %w", i, err)
			}
			bundle = bytes.Join([][]byte{bundle, part}, []byte("\n"))
		}
		var err error
		if all.Roots, err = verifier.ParseEKRoots(bundle); err != nil {
			return challenge.Roots{}, fmt.Errorf("nodes.ek_roots: %w", err)
		}
	}
	for i, path := range c.EKCRLs {
		raw, err := os.ReadFile(path) // #nosec G304 -- the operator's config names the file
		if err != nil {
			return challenge.Roots{}, fmt.Errorf("nodes.ek_crls[%d]: %w", i, err)
		}
		crls, err := verifier.ParseCRLs(raw)
		if err != nil {
			return challenge.Roots{}, fmt.Errorf("nodes.ek_crls[%d]: %w", i, err)
		}
		all.CRLs = append(all.CRLs, crls...)
	}
	return all, nil
}

// CheckFiles reports all that is wrong with the files and folders that a valid config names, apart from those for TLS, as Validate does.
func (c Config) CheckFiles() error {
	var p problems
	if !store.IsURL(c.Database) {
		checkFolder(&p, "database", c.Database)
	} else if err := store.CheckURLFiles(c.Database); err != nil {
		p.add("database", "%v", err)
	}
	if c.Listen.Unix != "" {
		checkFolder(&p, "listen.unix", c.Listen.Unix)
	}
	_, err := c.Nodes.roots()
	return errors.Join(errors.Join(p...), err)
}

// checkFolder wants the folder to be there in which a file is made.
func checkFolder(p *problems, key, file string) {
	dir := filepath.Dir(file)
	if info, err := os.Stat(dir); err != nil {
		p.add(key, "%v; make that folder, for the server's user", err)
	} else if !info.IsDir() {
		p.add(key, "%s is no folder; write the path of a file in one", dir)
	}
}
