package tpm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
)

// What is built and parsed by hand is compared here with what go-tpm makes and understands.

// canned keeps the last command and answers with a response of the test's.
type canned struct{ command, response []byte }

func (c *canned) Send(command []byte) ([]byte, error) {
	c.command = append(c.command[:0], command...)

	return c.response, nil
}

func (c *canned) Close() error { return nil }

// reflected is the same quote through go-tpm.
func reflected(device transport.TPM, ak *AK, extraData []byte, selections []Selection) (*tpm2.QuoteResponse, error) {
	return tpm2.Quote{
		SignHandle:     ak.authorized(),
		QualifyingData: tpm2.TPM2BData{Buffer: extraData},
		InScheme:       tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
		PCRSelect:      list(selections),
	}.Execute(device)
}

var someSelections = [][]Selection{
	{Select(tpm2.TPMAlgSHA256, 17, 18, 19)},
	{Select(tpm2.TPMAlgSHA1, 0), Select(tpm2.TPMAlgSHA384, 23), Select(tpm2.TPMAlgSHA256, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)},
}

func TestTheCommandIsThatOfGoTPM(t *testing.T) {
	t.Parallel()

	for _, selections := range someSelections {
		for _, handle := range []tpm2.TPMHandle{DefaultHandle, 0x80000001} {
			p := newPrepared(handle, selections)

			for _, size := range []int{maxExtraData, 0, 34, 16} { // a longer one before a shorter one leaves nothing behind
				extraData := bytes.Repeat([]byte{0xA5}, size)
				device := &canned{response: responseOf(0x922)}

				if _, err := reflected(device, &AK{Record: KeyRecord{Name: []byte{0, 0x0B}}, handle: handle}, extraData, selections); !errors.Is(err, tpm2.TPMRCRetry) {
					t.Fatal(err)
				}

				if diff := cmp.Diff(device.command, p.quote(extraData)); diff != "" {
					t.Errorf("%v at %#x, %d bytes (-go-tpm +ours):\n%s", selections, handle, size, diff)
				}
			}
		}
	}
}

// responseOf is a response that has nothing but a code.
func responseOf(code tpm2.TPMRC) []byte {
	return binary.BigEndian.AppendUint32([]byte{0x80, 0x01, 0, 0, 0, 10}, uint32(code))
}

// TestATPMsAnswerIsReadAsGoTPMReadsIt has a real TPM answer.
func TestATPMsAnswerIsReadAsGoTPMReadsIt(t *testing.T) {
	t.Parallel()

	for _, alg := range KeyAlgorithms() {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()

			node, extraData := tpmsimtest.Start(t, tpmsim.Options{}), bytes.Repeat([]byte{7}, 34)
			k := keys{tpm: node}

			record, err := k.next(alg, DefaultHandle, 0)
			if err != nil {
				t.Fatal(err)
			}

			ak, _, err := k.ensure(*record)
			if err != nil {
				t.Fatal(err)
			}

			for _, selections := range someSelections {
				p := newPrepared(ak.handle, selections)

				response, err := node.Send(p.quote(extraData))
				if err != nil {
					t.Fatal(err)
				}

				ours, err := parseQuote(response)
				if err == nil {
					err = ours.check(ak, extraData, p.pcrSelect)
				}

				if err != nil {
					t.Fatal(err)
				}

				compare(t, ours, response, ak, extraData, selections)
			}
		})
	}
}

// compare reads a response that ours was read from through go-tpm as well.
func compare(t *testing.T, ours *signed, response []byte, ak *AK, extraData []byte, selections []Selection) {
	t.Helper()

	theirs, err := reflected(&canned{response: response}, ak, extraData, selections)
	if err != nil {
		t.Fatalf("go-tpm does not take it: %v", err)
	}

	attest, err := tpm2.Unmarshal[tpm2.TPMSAttest](ours.quoted)
	if err != nil {
		t.Fatalf("go-tpm does not take TPMS_ATTEST: %v", err)
	}

	info, err := attest.Attested.Quote()
	if err != nil {
		t.Fatal(err)
	}

	want := [][]byte{theirs.Quoted.Bytes(), tpm2.Marshal(theirs.Signature), ak.qualifiedName, extraData, tpm2.Marshal(list(selections))}
	got := [][]byte{ours.quoted, ours.signature, attest.QualifiedSigner.Buffer, attest.ExtraData.Buffer, tpm2.Marshal(info.PCRSelect)}

	if diff := cmp.Diff(append(want, info.PCRDigest.Buffer), append(got, ours.pcrDigest)); diff != "" {
		t.Errorf("-go-tpm +ours:\n%s", diff)
	}
}

// made is a response as a TPM makes it, by an AK that does not exist.
func made(alg KeyAlgorithm, extraData []byte, selections []Selection) (*AK, []byte) {
	hash, hashAlg := tpm2.TPMAlgSHA256, tpm2.TPMAlgSHA256
	signature := tpm2.TPMTSignature{SigAlg: tpm2.TPMAlgECDSA}

	if alg == ECDSAP384 {
		hash, hashAlg = tpm2.TPMAlgSHA384, tpm2.TPMAlgSHA384
	}

	h, err := hash.Hash()
	if err != nil {
		panic(err)
	}

	number := bytes.Repeat([]byte{0x5C}, h.Size())
	signature.Signature = tpm2.NewTPMUSignature(tpm2.TPMAlgECDSA, &tpm2.TPMSSignatureECC{
		Hash: hashAlg, SignatureR: tpm2.TPM2BECCParameter{Buffer: number}, SignatureS: tpm2.TPM2BECCParameter{Buffer: number},
	})

	if alg == RSA2048 {
		signature.SigAlg = tpm2.TPMAlgRSASSA
		signature.Signature = tpm2.NewTPMUSignature(tpm2.TPMAlgRSASSA, &tpm2.TPMSSignatureRSA{
			Hash: hashAlg, Sig: tpm2.TPM2BPublicKeyRSA{Buffer: bytes.Repeat([]byte{0x5C}, 256)},
		})
	}

	ak := &AK{Record: KeyRecord{Algorithm: alg, Name: append([]byte{0, 0x0B}, number...)}, handle: DefaultHandle, hash: h, qualifiedName: append([]byte{0, 0x0B}, number...)}
	quoted := tpm2.Marshal(tpm2.TPMSAttest{
		Magic: tpm2.TPMGeneratedValue, Type: tpm2.TPMSTAttestQuote,
		QualifiedSigner: tpm2.TPM2BName{Buffer: ak.qualifiedName},
		ExtraData:       tpm2.TPM2BData{Buffer: extraData},
		ClockInfo:       tpm2.TPMSClockInfo{Clock: 1 << 40, ResetCount: 3, RestartCount: 4, Safe: true},
		FirmwareVersion: 1 << 33,
		Attested: tpm2.NewTPMUAttest(tpm2.TPMSTAttestQuote, &tpm2.TPMSQuoteInfo{
			PCRSelect: list(selections), PCRDigest: tpm2.TPM2BDigest{Buffer: make([]byte, h.Size())},
		}),
	})

	return ak, framed(quoted, tpm2.Marshal(signature))
}

// framed puts the two parameters into a response.
func framed(quoted, signature []byte) []byte {
	body := binary.BigEndian.AppendUint32(nil, uint32(2+len(quoted)+len(signature)))
	body = binary.BigEndian.AppendUint16(body, uint16(len(quoted)))
	body = append(append(append(body, quoted...), signature...), 0, 0, 1, 0, 0)

	response := binary.BigEndian.AppendUint32([]byte{0x80, 0x02}, uint32(headerSize+len(body)))

	return append(append(response, 0, 0, 0, 0), body...)
}

// FuzzQuoteResponse lets a hostile TPM answer. What is taken, go-tpm takes as well, and finds the same in it.
func FuzzQuoteResponse(f *testing.F) {
	extraData, selections := bytes.Repeat([]byte{7}, 34), someSelections[0]

	for i, alg := range KeyAlgorithms() {
		_, response := made(alg, extraData, selections)
		f.Add(i, response)
		f.Add(i, response[:len(response)-1])
	}

	f.Add(0, responseOf(tpm2.TPMRCSize))
	f.Add(0, responseOf(tpm2.TPMRCSuccess))

	f.Fuzz(func(t *testing.T, which int, response []byte) {
		alg := KeyAlgorithms()[uint(which)%3]
		ak, _ := made(alg, extraData, selections)

		ours, err := parseQuote(bytes.Clone(response))
		if err == nil {
			err = ours.check(ak, extraData, newPrepared(ak.handle, selections).pcrSelect)
		}

		if err == nil {
			compare(t, ours, response, ak, extraData, selections)
		}
	})
}

func TestAnAnswerThatDoesNotFitIsRefused(t *testing.T) {
	t.Parallel()

	extraData, selections := bytes.Repeat([]byte{7}, 34), someSelections[0]
	p := newPrepared(DefaultHandle, selections)

	take := func(ak *AK, response []byte) error {
		answer, err := parseQuote(response)
		if err != nil {
			return err
		}

		return answer.check(ak, extraData, p.pcrSelect)
	}

	for _, alg := range KeyAlgorithms() {
		ak, good := made(alg, extraData, selections)
		if err := take(ak, good); err != nil {
			t.Fatalf("%s: a good answer: %v", alg, err)
		}

		for n := range len(good) {
			if take(ak, good[:n]) == nil {
				t.Errorf("%s: cut to %d bytes it is taken", alg, n)
			}
		}

		if take(ak, append(bytes.Clone(good), 0)) == nil {
			t.Errorf("%s: with a byte more it is taken", alg)
		}

		other, _ := made(alg, extraData, selections)
		other.qualifiedName = bytes.Repeat([]byte{1}, len(ak.qualifiedName))

		if err := take(other, good); !errors.Is(err, ErrForeignKey) {
			t.Errorf("%s: by another key: %v", alg, err)
		}

		_, nonce := made(alg, bytes.Repeat([]byte{8}, 34), selections)
		_, pcrs := made(alg, extraData, []Selection{Select(tpm2.TPMAlgSHA256, 17, 18)})
		_, more := made(alg, extraData, append(selections[:1:1], Select(tpm2.TPMAlgSHA1, 1)))

		for what, response := range map[string][]byte{"of another nonce": nonce, "of other PCRs": pcrs, "of more banks": more} {
			if take(ak, response) == nil {
				t.Errorf("%s: one %s is taken", alg, what)
			}
		}
	}

	p256, _ := made(ECDSAP256, extraData, selections)
	_, rsa := made(RSA2048, extraData, selections)

	if take(&AK{Record: p256.Record, hash: p256.hash, qualifiedName: append([]byte{0, 0x0B}, bytes.Repeat([]byte{0x5C}, 32)...)}, rsa) == nil {
		t.Error("an RSA signature is taken for one of an ECDSA key")
	}
}

// TestFlippedBytesOfAnAnswerAreSeen flips those bytes that say what is signed. The numbers of the signature and the clock are for the verifier to judge.
func TestFlippedBytesOfAnAnswerAreSeen(t *testing.T) {
	t.Parallel()

	extraData, selections := bytes.Repeat([]byte{7}, 34), someSelections[0]
	ak, good := made(ECDSAP256, extraData, selections)
	p := newPrepared(DefaultHandle, selections)

	quotedAt := headerSize + 4 + 2
	clockAt := quotedAt + 4 + 2 + 2 + len(ak.qualifiedName) + 2 + len(extraData)
	digestAt := clockAt + 17 + 8 + len(p.pcrSelect) + 2
	free := func(i int) bool {
		return i >= clockAt && i < clockAt+16 || i >= clockAt+17 && i < clockAt+17+8 || i >= digestAt && i < digestAt+32 ||
			i >= digestAt+32+4+2 && i < digestAt+32+4+2+32 || i >= digestAt+32+4+2+32+2 && i < len(good)-5
	}

	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x80

		answer, err := parseQuote(bad)
		if err == nil {
			err = answer.check(ak, extraData, p.pcrSelect)
		}

		if (err == nil) != free(i) {
			t.Errorf("byte %d flipped: %v", i, err)
		}
	}
}

// maxQuoteAllocations is for a quote from its caller to the device and back, without the device. Through go-tpm's reflection alone there were 460.
const maxQuoteAllocations = 8

func TestAQuoteAllocatesNextToNothing(t *testing.T) { //nolint:paralleltest // counts allocations
	extraData, selections := bytes.Repeat([]byte{7}, 34), someSelections[0]
	ak, response := made(ECDSAP256, extraData, selections)
	device := &canned{response: response}

	// The PCRs' values are such that their digest is the one in the response.
	owner := quoting(device, ak)
	p := owner.session.prepare(ak, selections)
	p.banks, p.digest = []Bank{{Selection: selections[0], Values: make([][]byte, 3)}}, make([]byte, 32)

	got := testing.AllocsPerRun(100, func() {
		if _, err := owner.Quote(t.Context(), Request{ExtraData: extraData, Selections: selections}); err != nil {
			t.Fatal(err)
		}
	})
	if got > maxQuoteAllocations {
		t.Errorf("a quote costs %v allocations, at most %d are right", got, maxQuoteAllocations)
	}
}

// quoting is an owner that is ready to quote by an AK.
func quoting(device transport.TPMCloser, ak *AK) *TPM {
	owner := New(Options{Logger: slog.New(slog.DiscardHandler), Queue: 16})
	owner.session = &tpmSession{
		line: &line{device: device, retries: func(tpm2.TPMRC) {}, watch: &owner.watch}, ak: ak,
		properties: &Properties{Banks: []tpm2.TPMAlgID{tpm2.TPMAlgSHA256}, MaxNonce: maxExtraData},
		pcrs:       make(map[pcrKey][]byte),
	}
	owner.state.Store(&State{AK: ak, Properties: *owner.session.properties})

	return owner
}

// BenchmarkQuote compares a quote with the same through go-tpm, one after the other on the same TPM.
func BenchmarkQuote(b *testing.B) {
	for _, alg := range KeyAlgorithms() {
		node, extraData := tpmsimtest.Start(b, tpmsim.Options{}), bytes.Repeat([]byte{7}, 34)
		k := keys{tpm: node}

		record, err := k.next(alg, DefaultHandle, 0)
		if err != nil {
			b.Fatal(err)
		}

		ak, _, err := k.ensure(*record)
		if err != nil {
			b.Fatal(err)
		}

		owner := quoting(closer{node}, ak)

		b.Run(fmt.Sprintf("%s/ours", alg), func(b *testing.B) {
			for b.Loop() {
				if _, err := owner.Quote(context.Background(), Request{ExtraData: extraData, Selections: someSelections[0]}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("%s/go-tpm", alg), func(b *testing.B) {
			for b.Loop() {
				if _, err := reflected(node, ak, extraData, someSelections[0]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type closer struct{ transport.TPM }

func (closer) Close() error { return nil }
