// Package agent is the node's side of attestation: a gRPC daemon that reads event logs and PCRs and signs nonce-bound quotes. It measures and signs;
// it never judges.
package agent
