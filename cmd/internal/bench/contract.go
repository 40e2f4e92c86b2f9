package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/go-tpm/tpm2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/tpmsim/pki"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// contract measures what no busy machine can change.
func (b *bench) contract(ctx context.Context, s *stage) error {
	if err := b.countCommands(ctx, s); err != nil {
		return err
	}

	return b.weighReply(ctx, s)
}

// countCommands counts what reaches the TPM for quotes of both modes, and for one after a PCR moved.
func (b *bench) countCommands(ctx context.Context, s *stage) error {
	n, err := s.node(ctx, ecdsa, true, 0)
	if err != nil {
		return err
	}

	c, err := s.caller(n, 0)
	if err != nil {
		return err
	}

	const quotes = 50

	before := n.tap.commands.Load()

	for i := range quotes {
		if _, err := c.Quote(ctx, client.QuoteOptions{Nonce: newNonce(), Raw: i%2 == 0}); err != nil {
			return err
		}
	}

	b.results.set("tpm_commands_per_quote", float64(n.tap.commands.Load()-before)/quotes)

	return b.countAfterChange(ctx, n, c)
}

// countAfterChange extends a PCR behind the daemon's back.
func (b *bench) countAfterChange(ctx context.Context, n *node, c *client.Client) error {
	const pcr = 16 // for debugging: anybody may extend it (TCG PC Client Platform TPM Profile, 4.6)

	o := client.QuoteOptions{Nonce: newNonce(), Raw: true, Selection: []verifier.Selection{{Alg: eventlog.AlgSHA256, PCRs: []int{pcr}}}}
	if _, err := c.Quote(ctx, o); err != nil {
		return err
	}

	_, err := tpm2.PCRExtend{
		PCRHandle: tpm2.AuthHandle{Handle: pcr, Auth: tpm2.PasswordAuth(nil)},
		Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: newNonce()}}},
	}.Execute(n.tap)
	if err != nil {
		return fmt.Errorf("extending a PCR: %w", err)
	}

	before := n.tap.commands.Load()

	if _, err := c.Quote(ctx, o); err != nil {
		return err
	}

	b.results.set("tpm_commands_after_pcr_change", float64(n.tap.commands.Load()-before))

	return nil
}

// weighReply measures the message that a caller gets who knows the logs and the AK's certificate, from the daemon on a simulated node after a measured launch.
func (b *bench) weighReply(ctx context.Context, s *stage) (err error) {
	dir, err := s.folder()
	if err != nil {
		return err
	}

	home := filepath.Join(dir, "sim")

	p, err := start(dir, "simulator", b.agent, "--simulator", "--simulator-dir", home)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()

	address, err := waitForFile(ctx, filepath.Join(home, "address"))
	if err != nil {
		return err
	}

	config, err := tlsOf(filepath.Join(home, "pki"))
	if err != nil {
		return err
	}

	conn, err := grpc.NewClient("dns:///"+address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()

	return b.askTwice(ctx, conn)
}

// askTwice asks as somebody who knows nothing, and then as somebody who knows all that he was told.
func (b *bench) askTwice(ctx context.Context, conn *grpc.ClientConn) error {
	quotes := agentv1.NewQuoteServiceClient(conn)
	request := &agentv1.QuoteRequest{Nonce: newNonce(), BindMode: agentv1.BindMode_BIND_MODE_BOUND}

	first, err := quotes.Quote(ctx, request)
	if err != nil {
		return err
	}

	certificate, err := installCertificate(ctx, conn, first.GetAkPublic())
	if err != nil {
		return err
	}

	for _, log := range first.GetLogs() {
		request.Logs = append(request.Logs, &agentv1.LogRequest{Source: log.GetSource()})
	}

	all, err := quotes.Quote(ctx, request)
	if err != nil {
		return err
	}

	digest := sha256.Sum256(certificate)
	request.KnownAkCertificateDigest = digest[:]

	for i, log := range first.GetLogs() {
		request.Logs[i].KnownDigest = log.GetSha256()
	}

	known, err := quotes.Quote(ctx, request)
	if err != nil {
		return err
	}

	if !bytes.Equal(all.GetAkCertificate(), certificate) || len(known.GetAkCertificate()) > 0 {
		return errors.New("the certificate is not where it should be")
	}

	b.results.set("reply_bytes_all", float64(proto.Size(all)))
	b.results.set("reply_bytes_known_logs", float64(proto.Size(known)))

	// The longest proof there is: of a leaf in a full tree.
	known.Aggregation = &agentv1.Aggregation{Salt: newNonce(), Index: 255, Size: 256, InclusionProof: slices.Repeat([][]byte{newNonce()}, 8)}
	b.results.set("reply_bytes_known_logs_of_256", float64(proto.Size(known)))

	return nil
}

// installCertificate gives a node a certificate for its AK.
func installCertificate(ctx context.Context, conn *grpc.ClientConn, akPublic []byte) ([]byte, error) {
	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](akPublic)
	if err != nil {
		return nil, fmt.Errorf("parsing the AK: %w", err)
	}

	key, err := tpm2.Pub(*public)
	if err != nil {
		return nil, fmt.Errorf("parsing the AK: %w", err)
	}

	ca, err := pki.New("trustpool bench AK")
	if err != nil {
		return nil, err
	}

	pair, err := ca.IssueFor(pki.Leaf{DNSNames: []string{"ak.bench.example"}, Client: true}, key)
	if err != nil {
		return nil, err
	}

	der := pair.Certificate.Certificate[0]
	_, err = agentv1.NewEnrollmentServiceClient(conn).InstallCertificate(ctx, &agentv1.InstallCertificateRequest{Certificate: der})

	return der, err
}

// tlsOf reads the certificates that a simulated node wrote for its caller.
func tlsOf(dir string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "client.pem"), filepath.Join(dir, "client-key.pem"))
	if err != nil {
		return nil, fmt.Errorf("reading certificates: %w", err)
	}

	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return nil, fmt.Errorf("reading certificates: %w", err)
	}

	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)

	return &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}, nil
}

// waitForFile waits until a program has written a file of one line.
func waitForFile(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("there is no %s", path))
	defer cancel()

	for {
		if text, err := os.ReadFile(path); err == nil && bytes.HasSuffix(text, []byte("\n")) {
			return string(bytes.TrimSpace(text)), nil
		}

		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return "", err
		}
	}
}
