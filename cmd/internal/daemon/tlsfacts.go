package daemon

import (
	"crypto/x509"
	"time"
)

// TLSFacts are what is in the files, for a person who looks for what may be wrong with them.
type TLSFacts struct {
	// Chain is the server's, its own certificate first; Authorities are those that sign clients' certificates.
	Chain, Authorities []*x509.Certificate
	// Outdated are the ends of the CRLs that should have been replaced by now.
	Outdated []time.Time
}

// Facts returns what is in the files as they are used now.
func (t *TLS) Facts(now time.Time) (TLSFacts, error) {
	m := t.present.Load()
	facts := TLSFacts{Authorities: m.accepted, Outdated: m.outdated(now)}

	for _, der := range m.pair.Certificate {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return TLSFacts{}, err
		}

		facts.Chain = append(facts.Chain, certificate)
	}

	return facts, nil
}
