package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/rogpeppe/go-internal/testscript"
)

// makeBigLog makes a firmware log of one large event (PC Client Platform Firmware Profile, 9.2.1).
func makeBigLog(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: biglog FILE")
	}
	data := make([]byte, 300_000)
	digest := sha1.Sum(data)
	log := binary.LittleEndian.AppendUint32(nil, 1)
	log = binary.LittleEndian.AppendUint32(log, 1) // EV_POST_CODE
	log = binary.LittleEndian.AppendUint32(append(log, digest[:]...), uint32(len(data)))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), append(log, data...), 0o600))
}

// certifyAK makes a privacy CA that vouches for the AK in ak.pub.
func certifyAK(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: certify DIR")
	}
	dir := ts.MkAbs(args[0])
	sized, err := os.ReadFile(filepath.Join(dir, "ak.pub"))
	ts.Check(err)
	area, err := tpm2.Unmarshal[tpm2.TPMTPublic](sized[2:])
	ts.Check(err)
	ak, err := tpm2.Pub(*area)
	ts.Check(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)

	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	ts.Check(err)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: ca.NotBefore, NotAfter: ca.NotAfter}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, ak, key)
	ts.Check(err)

	ts.Check(os.WriteFile(filepath.Join(dir, "ak.crt"), leafDER, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("privacy-ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), 0o600))
}
