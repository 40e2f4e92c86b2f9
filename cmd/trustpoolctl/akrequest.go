package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"github.com/trustpool/trustpool/verifier"
)

// akRequestFormat is the value of "format" in what enroll --csr prints.
const akRequestFormat = "trustpool-ak-request/1"

// akRequest asks a CA for a certificate of an AK. A PKCS #10 request can't: a restricted key signs nothing of its kind. In its place is the proof by which the request was checked, which
// another verifier can check again up to the credential: that this TPM has opened one is the word of who ran enroll. The CA has to trust the way that this file came.
type akRequest struct {
	Format string `json:"format"`
	// Node and EKBinding say whose key it is, and by what.
	Node      string             `json:"node"`
	EKBinding verifier.EKBinding `json:"ek_binding"`
	EKName    verifier.Hex       `json:"ek_name"`
	AKName    verifier.Hex       `json:"ak_name"`
	// AKPublicPEM is the key as PKIX SubjectPublicKeyInfo, AKPublic its TPMT_PUBLIC.
	AKPublicPEM string `json:"ak_public_pem"`
	AKPublic    []byte `json:"ak_public"`
	EnrolledAt  string `json:"enrolled_at"`
	// Proof is how the key was made, signed by itself.
	Proof akProof `json:"proof"`
}

// akProof has the TPM structures of verifier.AttestationKey, in base64.
type akProof struct {
	Nonce            []byte `json:"nonce"`
	EKPublic         []byte `json:"ek_public"`
	CreationData     []byte `json:"creation_data"`
	CertifyInfo      []byte `json:"certify_info"`
	CertifySignature []byte `json:"certify_signature"`
}

func newAKRequest(run enrolment) (*akRequest, error) {
	key := run.record.AKs[len(run.record.AKs)-1]
	public, err := key.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("asking for a certificate: %w", err)
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("asking for a certificate: %w", err)
	}

	request := &akRequest{
		Format:      akRequestFormat,
		Node:        run.record.Name,
		EKBinding:   run.record.Binding,
		EKName:      run.record.EK.Name,
		AKName:      key.Name,
		AKPublicPEM: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})),
		AKPublic:    key.Public,
		EnrolledAt:  run.record.EnrolledAt.Format("2006-01-02T15:04:05Z"),
		Proof:       akProof{Nonce: run.policy.Nonce, EKPublic: run.record.EK.Public},
	}
	for _, ak := range run.identity.AKs {
		if string(ak.Public) == string(key.Public) {
			request.Proof.CreationData, request.Proof.CertifyInfo, request.Proof.CertifySignature = ak.CreationData, ak.CertifyInfo, ak.CertifySignature
		}
	}
	return request, nil
}
