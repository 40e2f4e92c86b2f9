package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/google/go-tpm/tpm2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// bareServer is the least that can answer the same call with gRPC and go-tpm: no queue, limits, rules, checks, log or metrics. What it costs above a raw quote is the
// floor for the daemon.
type bareServer struct {
	agentv1.UnimplementedQuoteServiceServer

	mu     sync.Mutex
	quoter *rawQuoter
	public []byte
	banks  []*agentv1.PcrBank
}

// Quote implements the RPC of that name, for the bare nonce and PCR 17, 18 and 19.
func (s *bareServer) Quote(_ context.Context, request *agentv1.QuoteRequest) (*agentv1.QuoteResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	response, err := s.quoter.quote(request.GetNonce())
	if err != nil {
		return nil, err
	}

	return &agentv1.QuoteResponse{
		Quoted: response.Quoted.Bytes(), QuoteSignature: tpm2.Marshal(response.Signature), PcrBanks: s.banks, AkName: s.quoter.key.Name.Buffer, AkPublic: s.public,
	}, nil
}

// serveBare serves the TPM and the certificates in a node's folder until ctx ends. The daemon that made them has gone.
func serveBare(ctx context.Context, dir, address string) error {
	s, err := newBareServer(filepath.Join(dir, tpmSocket))
	if err != nil {
		return err
	}

	certificates := filepath.Join(dir, "pki")

	pair, err := tls.LoadX509KeyPair(filepath.Join(certificates, "server.pem"), filepath.Join(certificates, "server-key.pem"))
	if err != nil {
		return err
	}

	ca, err := os.ReadFile(filepath.Join(certificates, "ca.pem"))
	if err != nil {
		return err
	}

	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)

	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}

	server := grpc.NewServer(grpc.StaticStreamWindowSize(64<<10), grpc.StaticConnWindowSize(256<<10), grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: tls.VersionTLS13,
	})))
	agentv1.RegisterQuoteServiceServer(server, s)

	defer context.AfterFunc(ctx, server.GracefulStop)()

	return server.Serve(listener)
}

func newBareServer(socket string) (*bareServer, error) {
	quoter, err := newRawQuoter(socket)
	if err != nil {
		return nil, err
	}

	key, err := tpm2.ReadPublic{ObjectHandle: akHandle}.Execute(quoter.tpm)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading the attestation key: %w", err), quoter.conn.Close())
	}

	values, err := tpm2.PCRRead{PCRSelectionIn: launchPCRs()}.Execute(quoter.tpm)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading PCRs: %w", err), quoter.conn.Close())
	}

	bank := &agentv1.PcrBank{HashAlgo: agentv1.HashAlgo_HASH_ALGO_SHA256}
	for i, value := range values.PCRValues.Digests {
		bank.PcrValues = append(bank.PcrValues, &agentv1.PcrValue{PcrIndex: int32(17 + i), Value: value.Buffer})
	}

	return &bareServer{quoter: quoter, public: key.OutPublic.Bytes(), banks: []*agentv1.PcrBank{bank}}, nil
}

// startBare puts a bare server in the place of a node's daemon.
func (s *stage) startBare(ctx context.Context, n *node) error {
	if err := n.halt(); err != nil {
		return err
	}

	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}

	if n.process, err = start(n.dir, "bare", self, "-bare", n.dir, "-bare-address", n.address); err != nil {
		return err
	}

	return reachable(ctx, "tcp", n.address)
}
