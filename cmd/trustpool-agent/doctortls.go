package main

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/trustpool/trustpool/agent"
	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/internal/spiffe"
)

// How long before their end certificates are warned of.
const (
	serverWarning    = 14 * 24 * time.Hour
	authorityWarning = 30 * 24 * time.Hour
)

// examineTLS looks at the TLS files as the daemon would, and then at what it would only find out with its callers.
func examineTLS(config agent.Config) []agent.Finding {
	if config.TLS.SPIFFE.Enabled() {
		return []agent.Finding{examineWorkloadAPI(config.TLS.SPIFFE)}
	}

	names, canLoad := tlsFilesOutside(config.TLS)
	if !canLoad {
		return nil // it was told
	}

	files, err := daemon.LoadTLS(names, slog.New(slog.DiscardHandler))
	if err != nil {
		return []agent.Finding{found("tls", agent.OutcomeFailed, "put the right files there, and let the agent's user read them; docs/install.md shows how to make them", "%v", err)}
	}

	now := time.Now()

	facts, err := files.Facts(now)
	if err != nil {
		return []agent.Finding{found("tls", agent.OutcomeFailed, "", "%v", err)}
	}

	findings := []agent.Finding{validity("tls", "the server's certificate", facts.Chain[0], now, serverWarning), certifiedNames(facts.Chain[0])}
	findings = append(findings, inOrder(facts.Chain)...)

	for _, authority := range facts.Authorities {
		findings = append(findings, validity("tls", fmt.Sprintf("the client CA %q", authority.Subject), authority, now, authorityWarning))
	}

	findings = append(findings, forClientsToo(facts.Chain[0])...)
	findings = append(findings, secrecy(config.TLS.Key)...)
	findings = append(findings, revocation(config.TLS.CRL, facts.Outdated))

	return findings
}

// examineWorkloadAPI looks whether the socket is there. What it would give to the daemon it tells nobody else.
func examineWorkloadAPI(config agent.SPIFFEConfig) agent.Finding {
	const check = "tls"

	path, err := spiffe.SocketPath(config.Socket)
	if err != nil {
		return found(check, agent.OutcomeFailed, "write tls.spiffe.socket: unix:///PATH", "%v", err)
	}

	info, err := os.Stat(path)
	if err != nil {
		return found(check, agent.OutcomeFailed, "start the SPIRE agent, with this path as its socket_path; the daemon waits for it", "the socket of the SPIFFE Workload API: %v", err)
	}

	if info.Mode().Type() != os.ModeSocket {
		return found(check, agent.OutcomeFailed, "write tls.spiffe.socket: unix:///PATH, the socket_path of the SPIRE agent", "%s is no socket", path)
	}

	if strings.HasPrefix(path, "/tmp/") || strings.HasPrefix(path, "/var/tmp/") {
		return found(check, agent.OutcomeFailed, "have the SPIRE agent make it elsewhere: socket_path = \"/run/spire/agent/public/api.sock\"",
			"%s is there, but the unit has a /tmp of its own (PrivateTmp=) and does not see it", path)
	}

	return found(check, agent.OutcomeOK, "", "the socket of the SPIFFE Workload API is there; what it gives to the daemon is in its log and status")
}

// tlsFilesOutside names the files without those that systemd gives to the unit alone. Without the key, the certificate can be looked at still.
func tlsFilesOutside(config agent.TLSConfig) (files daemon.TLSFiles, canLoad bool) {
	if isUnseen(config.Certificate) || isUnseen(config.ClientCA) {
		return daemon.TLSFiles{}, false
	}

	if isUnseen(config.CRL) {
		config.CRL = ""
	}

	if isUnseen(config.Key) {
		files = tlsFiles(config, nil)
		files.Held = func(crypto.PublicKey) (crypto.Signer, error) { return nil, nil } // nothing is signed

		return files, true
	}

	var key *agent.TLSKey
	if config.Key == agent.KeyInTPM {
		key = agent.NewTLSKey()
	}

	return tlsFiles(config, key), true
}

// validity tells whether a certificate is good now, and for how long.
func validity(check, what string, certificate *x509.Certificate, now time.Time, early time.Duration) agent.Finding {
	const day = 24 * time.Hour

	from, to := certificate.NotBefore.UTC().Format(time.RFC3339), certificate.NotAfter.UTC().Format(time.RFC3339)

	switch left := certificate.NotAfter.Sub(now); {
	case now.Before(certificate.NotBefore):
		return found(check, agent.OutcomeFailed, "set the clock right if it is wrong (timedatectl), else wait or have another certificate made",
			"%s is not good before %s, and it is %s", what, from, now.UTC().Format(time.RFC3339))
	case left <= 0:
		return found(check, agent.OutcomeFailed, "have a new one made, and put it in its place: the agent takes it over at once", "%s ended at %s", what, to)
	case left < early:
		return found(check, agent.OutcomeWarning, "have a new one made, and put it in its place: the agent takes it over at once", "%s ends at %s, in %d days", what, to, left/day)
	default:
		return found(check, agent.OutcomeOK, "", "%s is good until %s", what, to)
	}
}

// certifiedNames tells whether callers who know this host by its name find that name in the certificate. Only subject alternative names count for them (RFC 9525, 2).
func certifiedNames(certificate *x509.Certificate) agent.Finding {
	var all []string

	all = append(all, certificate.DNSNames...)
	for _, ip := range certificate.IPAddresses {
		all = append(all, ip.String())
	}

	if len(all) == 0 {
		return found("tls", agent.OutcomeFailed, "have one made with the node's name as subjectAltName", "the server's certificate has no subject alternative name: every caller refuses it")
	}

	host, err := os.Hostname()
	if err != nil {
		return found("tls", agent.OutcomeWarning, "", "this host's name is not known: %v", err)
	}

	short, _, _ := strings.Cut(host, ".")
	isOurs := slices.ContainsFunc(certificate.DNSNames, func(name string) bool {
		first, _, _ := strings.Cut(name, ".")

		return strings.EqualFold(first, short)
	})

	if isOurs || certificate.VerifyHostname(host) == nil || slices.ContainsFunc(certificate.IPAddresses, isLocal) {
		return found("tls", agent.OutcomeOK, "", "the server's certificate is for %s, and this host is %s", strings.Join(all, ", "), host)
	}

	return found("tls", agent.OutcomeWarning, "have callers use one of these names, or have a certificate made with this host's name as subjectAltName",
		"the server's certificate is for %s, but this host is %s: who calls it so refuses the certificate", strings.Join(all, ", "), host)
}

// isLocal says whether an address is one of this host's that others can use.
func isLocal(ip net.IP) bool {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}

	return !ip.IsLoopback() && slices.ContainsFunc(addresses, func(address net.Addr) bool {
		network, ok := address.(*net.IPNet)

		return ok && network.IP.Equal(ip)
	})
}

// inOrder tells whether each certificate of the file is signed by the next one, as RFC 8446, 4.4.2 wants it sent.
func inOrder(certificates []*x509.Certificate) []agent.Finding {
	for i := range len(certificates) - 1 {
		if err := certificates[i].CheckSignatureFrom(certificates[i+1]); err != nil {
			return []agent.Finding{found("tls", agent.OutcomeFailed, "write the server's certificate first, then the one that signed it, and so on",
				"certificate %d in the server's file, of %q, is not signed by the next one: %v", i+1, certificates[i].Subject, err)}
		}
	}

	return nil
}

// forClientsToo tells of a certificate that is good for more than it should be.
func forClientsToo(certificate *x509.Certificate) []agent.Finding {
	if !slices.Contains(certificate.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		return nil
	}

	return []agent.Finding{found("tls", agent.OutcomeWarning, "have one made with the extended key usage serverAuth only",
		"the server's certificate is for clients too: who takes it from this node can call other nodes with it")}
}

// secrecy tells of a private key that is none.
func secrecy(key string) []agent.Finding {
	path, err := daemon.CredentialPath(key)
	if err != nil || key == agent.KeyInTPM {
		return nil
	}

	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o007 == 0 {
		return nil
	}

	return []agent.Finding{found("tls", agent.OutcomeWarning, "chmod 0640 "+path+", and have a new key and certificate made if others use this host",
		"everybody on this host may read the private key %s", path)}
}

// revocation tells whether the agent knows who was revoked.
func revocation(crl string, outdated []time.Time) agent.Finding {
	switch {
	case isUnseen(crl):
		return found("tls", agent.OutcomeWarning, "see credentials", "who is revoked is not known: %s was not looked at", crl)
	case crl == "":
		return found("tls", agent.OutcomeOK, "", "no tls.crl: nobody is revoked")
	case len(outdated) > 0:
		return found("tls", agent.OutcomeWarning, "put a fresh one in its place: the agent takes it over at once",
			"a CRL was to be replaced by %s: what was revoked since is not known", outdated[0].UTC().Format(time.RFC3339))
	default:
		return found("tls", agent.OutcomeOK, "", "the CRL is fresh")
	}
}
