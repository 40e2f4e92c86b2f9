package client

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/verifier"
)

// IdentityReply is what a node answered to the question who it is.
type IdentityReply struct {
	// Identity is what verifier.Enroll judges.
	Identity verifier.Identity
	// ServerNames are the DNS names and IP addresses in the server certificate of the very connection that the answer came over, which TLS has verified. None over a unix socket, and
	// where the node is known by Options.ServerURI: that is what was verified then.
	ServerNames []string
	// ServerKey is the public key of that certificate; nil over a unix socket.
	ServerKey crypto.PublicKey
}

// Identity asks a node for its keys. nonce is signed with each AK's creation; NewNonce makes one. The answer is for verifier.Enroll to judge. Needs the role "enroll".
func (c *Client) Identity(ctx context.Context, nonce []byte) (IdentityReply, error) {
	var from peer.Peer
	resp, err := c.enrollment().GetIdentity(ctx, &agentv1.GetIdentityRequest{Nonce: nonce}, grpc.Peer(&from))
	if err != nil {
		return IdentityReply{}, fmt.Errorf("asking %s for its identity: %w", c.address, newCallError(err))
	}
	identity, err := newIdentity(resp)
	if err != nil {
		return IdentityReply{}, fmt.Errorf("reading the identity of %s: %w", c.address, err)
	}
	reply := IdentityReply{Identity: identity}
	leaf := c.serverCertificate(&from)
	if leaf != nil {
		reply.ServerKey = leaf.PublicKey
	}
	if leaf != nil && !c.byURI {
		reply.ServerNames = serverNames(leaf)
	}
	return reply, nil
}

// serverCertificate returns nothing where TLS has verified nothing.
func (c *Client) serverCertificate(from *peer.Peer) *x509.Certificate {
	info, ok := from.AuthInfo.(credentials.TLSInfo)
	if ok && c.byURI && len(info.State.PeerCertificates) > 0 {
		return info.State.PeerCertificates[0] // VerifyConnection has verified it, or there was no connection
	}
	if !ok || len(info.State.VerifiedChains) == 0 {
		return nil
	}
	return info.State.VerifiedChains[0][0]
}

func serverNames(leaf *x509.Certificate) []string {
	names := append([]string{}, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// ActivateCredential has the node's TPM open the credential and returns what it found, which is for the challenge, or its Enrollment, to judge. Needs the role "enroll".
func (c *Client) ActivateCredential(ctx context.Context, challenge *verifier.Challenge) ([]byte, error) {
	resp, err := c.enrollment().ActivateCredential(ctx, &agentv1.ActivateCredentialRequest{
		EkPublic:        challenge.EKPublic,
		AkName:          challenge.AKName,
		CredentialBlob:  challenge.Blob,
		EncryptedSecret: challenge.EncryptedSecret,
	})
	if err != nil {
		return nil, fmt.Errorf("having %s open a credential: %w", c.address, newCallError(err))
	}
	if err := atMost("secret", len(resp.GetSecret()), maxName); err != nil {
		return nil, fmt.Errorf("having %s open a credential: %w", c.address, err)
	}
	return resp.GetSecret(), nil
}

// InstallCertificate gives the node a certificate (DER) for the AK whose key it has, the one in use or the pending one. Needs the role "admin".
func (c *Client) InstallCertificate(ctx context.Context, certificate []byte) error {
	_, err := c.enrollment().InstallCertificate(ctx, &agentv1.InstallCertificateRequest{Certificate: certificate})
	if err != nil {
		return fmt.Errorf("giving %s a certificate: %w", c.address, newCallError(err))
	}
	return nil
}

// RotateAK has the node make its next AK, and returns that one's Name. Asked again before CommitAK, it gives the same. Needs the role "admin".
func (c *Client) RotateAK(ctx context.Context) ([]byte, error) {
	resp, err := c.enrollment().RotateAK(ctx, &agentv1.RotateAKRequest{})
	if err != nil {
		return nil, fmt.Errorf("having %s make its next AK: %w", c.address, newCallError(err))
	}
	return c.akName(resp.GetAkName())
}

// CommitAK ends a rotation: from now on the pending AK of that Name signs, and the former one is gone from the node. Needs the role "admin".
func (c *Client) CommitAK(ctx context.Context, akName []byte) error {
	if _, err := c.enrollment().CommitAK(ctx, &agentv1.CommitAKRequest{AkName: akName}); err != nil {
		return fmt.Errorf("having %s use its next AK: %w", c.address, newCallError(err))
	}
	return nil
}

// Reprovision has the node forget what it recorded of its AK and take the one that its TPM has, and returns that one's Name. The node has to be enrolled again. Needs the role "admin".
func (c *Client) Reprovision(ctx context.Context) ([]byte, error) {
	resp, err := c.enrollment().Reprovision(ctx, &agentv1.ReprovisionRequest{})
	if err != nil {
		return nil, fmt.Errorf("having %s begin anew: %w", c.address, newCallError(err))
	}
	return c.akName(resp.GetAkName())
}

func (c *Client) akName(name []byte) ([]byte, error) {
	if len(name) == 0 || len(name) > maxName {
		return nil, fmt.Errorf("reading the answer of %s: %w: ak_name has %d bytes", c.address, ErrMalformed, len(name))
	}
	return name, nil
}

func (c *Client) enrollment() agentv1.EnrollmentServiceClient {
	return agentv1.NewEnrollmentServiceClient(c.conn)
}
