package tpm

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
)

// exchange is one command, and what the TPM answered.
type exchange struct{ command, response []byte }

// recorder keeps what goes to and fro.
type recorder struct {
	transport.TPM

	exchanges []exchange
}

func (r *recorder) Send(command []byte) ([]byte, error) {
	response, err := r.TPM.Send(command)
	r.exchanges = append(r.exchanges, exchange{bytes.Clone(command), response})

	return response, err
}

func (r *recorder) Close() error { return nil }

// impostor answers as the TPM did that was recorded, but changes the answers from one command on: that one alone, or all of its kind.
type impostor struct {
	exchanges []exchange
	at        int // of the command whose answer is the first to be changed
	forAll    bool
	change    func([]byte) []byte

	sent int
	next int // where in the record it is
	code uint32
}

// mostCommands is far more than a life takes.
const mostCommands = 2000

var errEndless = errors.New("the TPM is asked without end")

func (i *impostor) Send(command []byte) ([]byte, error) {
	if i.sent++; i.sent > mostCommands {
		return nil, errEndless
	}

	code := codeOf(command)
	response := bytes.Clone(i.answer(command))

	if i.sent == i.at+1 {
		i.code = code

		return i.change(response), nil
	}

	if i.forAll && i.sent > i.at && code == i.code {
		return i.change(response), nil
	}

	return response, nil
}

func (i *impostor) Close() error { return nil }

// answer is that to the same command, else that to the next one of the same kind, as where there is a nonce in it; else that there is no such command.
func (i *impostor) answer(command []byte) []byte {
	for n := range i.exchanges {
		if at := (i.next + n) % len(i.exchanges); bytes.Equal(i.exchanges[at].command, command) {
			i.next = at + 1

			return i.exchanges[at].response
		}
	}

	for n := range i.exchanges {
		if at := (i.next + n) % len(i.exchanges); codeOf(i.exchanges[at].command) == codeOf(command) {
			i.next = at + 1

			return i.exchanges[at].response
		}
	}

	return responseOf(tpm2.TPMRCCommandCode)
}

func codeOf(command []byte) uint32 { return binary.BigEndian.Uint32(command[6:]) }

// life is what becomes of an agent's TPM, from the first start on.
type life struct {
	owner  *TPM
	device transport.TPMCloser
	// credential is what a verifier made for the first EK and AK: the EK's public area, the AK's Name, the blob and the secret. Without it, none is opened.
	credential [4][]byte
}

func newLife(device transport.TPMCloser) *life {
	owner := New(Options{
		Open: func() (transport.TPMCloser, error) { return device, nil }, Algorithm: ECDSAP256, Handle: DefaultHandle, TLSHandle: 0x81018300, Queue: 16,
		Logger: slog.New(slog.DiscardHandler),
	})
	close(owner.tried) // as Run does

	return &life{device: device, owner: owner}
}

// open sets the TPM up, as Run does, and again after each failure, but waits for nothing.
func (l *life) open() error {
	t := l.owner
	if t.session != nil && !t.session.stale && t.State().Err == nil {
		return nil
	}

	t.session = &tpmSession{line: &line{device: l.device, sleep: func(time.Duration) {}, retries: t.options.OnRetry, watch: &t.watch}, publish: t.publish}

	return t.setUp()
}

// live goes through all that callers and operators can ask for, and goes on after what fails. quoted is called with each quote.
func (l *life) live(ctx context.Context, quoted func(Request, *Quote)) error {
	nonce, tlsData := bytes.Repeat([]byte{7}, 34), bytes.Repeat([]byte{8}, 34)

	quote := func(name []byte, selections ...Selection) error {
		request := Request{ExtraData: nonce, Selections: selections, AKName: name}

		q, err := l.owner.Quote(ctx, request)
		if err == nil {
			quoted(request, q)
		}

		return err
	}

	var pending []byte

	steps := []func() error{
		func() error { return quote(nil, someSelections[0]...) },
		func() error { return quote(nil, someSelections[1]...) },
		func() error { return quote(nil, someSelections[0]...) },
		func() error { return l.identify(ctx, nonce, tlsData) },
		func() error {
			if tls := l.owner.State().TLS; tls != nil {
				_, err := l.owner.SignTLS(ctx, tls.Key, nonce[:32])

				return err
			}

			return nil
		},
		func() error {
			ak, err := l.owner.Rotate(ctx)
			if err == nil {
				pending = ak.Name()
			}

			return err
		},
		func() error { return quote(pending, someSelections[0]...) },
		func() error { return l.owner.Commit(ctx, pending) },
		func() error { return quote(nil, someSelections[0]...) },
		func() error { _, err := l.owner.Reprovision(ctx); return err },
	}

	var errs []error

	for number, step := range steps {
		err := l.open()
		if err == nil {
			err = step()
		}

		if err != nil {
			errs = append(errs, fmt.Errorf("step %d: %w", number, err))
		}
	}

	return errors.Join(errs...)
}

// identify reads the identity, and opens the credential.
func (l *life) identify(ctx context.Context, nonce, tlsData []byte) error {
	identity, err := l.owner.Identity(ctx, nonce, tlsData)
	if err != nil {
		return err
	}

	if l.credential[0] == nil {
		if err := l.makeCredential(identity); err != nil {
			return err
		}
	}

	_, err = l.owner.Activate(ctx, l.credential[0], l.credential[1], l.credential[2], l.credential[3])

	return err
}

// makeCredential does what a verifier does.
func (l *life) makeCredential(identity *Identity) error {
	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](identity.EKs[0].Public)
	if err != nil {
		return err
	}

	key, err := tpm2.ImportEncapsulationKey(public)
	if err != nil {
		return err
	}

	name := identity.AKs[0].AK.Name()
	blob, secret, err := tpm2.CreateCredential(rand.Reader, key, name, []byte("a secret of the verifier's own"))
	l.credential = [4][]byte{identity.EKs[0].Public, name, blob, secret}

	return err
}

// FuzzHostileTPM has a TPM answer wrongly at one command of its life, or from then on at all of that kind: the agent never fails by a mistake of its own, asks and keeps no more than it has to, and has
// no quote that is not of the nonce, the PCRs and the key that were asked for. One input is a whole life, of sixty commands: that is why there are few in a second.
func FuzzHostileTPM(f *testing.F) {
	device := &recorder{TPM: tpmsimtest.Start(f, tpmsim.Options{})}
	recorded := newLife(device)

	if err := recorded.live(f.Context(), func(Request, *Quote) {}); err != nil {
		f.Fatal(err)
	}

	for at := range device.exchanges {
		f.Add(uint16(at), uint8(at), uint16(10+at%40), []byte{0xFF, 0xFF})
	}

	for kind := range uint8(8) {
		f.Add(uint16(kind), kind, uint16(6), []byte{0, 0, 0x09, 0x22})
	}

	f.Fuzz(func(t *testing.T, at uint16, kind uint8, offset uint16, data []byte) {
		device := &impostor{exchanges: device.exchanges, at: int(at) % len(device.exchanges), forAll: kind&0x80 != 0}
		device.change = func(response []byte) []byte { return changed(response, kind&0x7F, int(offset), data) }

		before := allocated()
		l := newLife(device)
		l.credential = recorded.credential
		err := l.live(t.Context(), func(request Request, quote *Quote) { wantAnswer(t, request, quote) })

		if errors.Is(err, errEndless) {
			t.Fatalf("%d commands, %d in a good life", device.sent, len(device.exchanges))
		}

		if used := allocated() - before; used > 256<<20 {
			t.Fatalf("%d bytes were allocated", used)
		}
	})
}

// changed is a response that is changed in one of some ways. Its length says the truth afterwards, as the kernel sees to that, unless the change is of its length.
func changed(response []byte, kind uint8, offset int, data []byte) []byte {
	offset = min(offset, len(response))

	switch kind % 6 {
	case 0: // some bytes are others
		copy(response[offset:], data)

		return response
	case 1: // some bits are
		for n := range min(len(data), len(response)-offset) {
			response[offset+n] ^= data[n]
		}

		return response
	case 2: // it is cut
		response = response[:offset]
	case 3: // there is something more
		response = append(append(bytes.Clone(response[:offset]), data...), response[offset:]...)
	case 4: // something is missing
		response = append(bytes.Clone(response[:offset]), response[min(len(response), offset+len(data)):]...)
	default: // it is another one
		return data
	}

	if len(response) > maxFrame {
		response = response[:maxFrame]
	}

	if len(response) >= headerSize {
		binary.BigEndian.PutUint32(response[2:], uint32(len(response)))
	}

	return response
}

// allocated tells how many bytes this process ever allocated.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)

	return sample[0].Value.Uint64()
}

// wantAnswer reads a quote through go-tpm, and wants it to be what was asked for.
func wantAnswer(t *testing.T, request Request, quote *Quote) {
	t.Helper()

	attest, err := tpm2.Unmarshal[tpm2.TPMSAttest](quote.Quoted)
	if err != nil {
		t.Fatalf("no TPMS_ATTEST: %v", err)
	}

	info, err := attest.Attested.Quote()
	if err != nil || attest.Magic != tpm2.TPMGeneratedValue {
		t.Fatalf("no quote of a TPM: %v, %v", attest.Magic, err)
	}

	if _, err := tpm2.Unmarshal[tpm2.TPMTSignature](quote.Signature); err != nil {
		t.Fatalf("no TPMT_SIGNATURE: %v", err)
	}

	digest := quote.AK.Hash().New()

	for n, bank := range quote.Banks {
		if bank.Selection != request.Selections[n] {
			t.Fatalf("bank %d is %v, not %v", n, bank.Selection, request.Selections[n])
		}

		for _, value := range bank.Values {
			digest.Write(value)
		}
	}

	for what, pair := range map[string][2][]byte{
		"nonce":            {attest.ExtraData.Buffer, request.ExtraData},
		"selection":        {tpm2.Marshal(info.PCRSelect), tpm2.Marshal(list(request.Selections))},
		"digest of PCRs":   {info.PCRDigest.Buffer, digest.Sum(nil)},
		"qualified signer": {attest.QualifiedSigner.Buffer, quote.AK.qualifiedName},
	} {
		if !bytes.Equal(pair[0], pair[1]) {
			t.Fatalf("%s: signed %x, told %x", what, pair[0], pair[1])
		}
	}

	if len(request.AKName) > 0 && !bytes.Equal(request.AKName, quote.AK.Name()) {
		t.Fatalf("signed by %x, asked for %x", quote.AK.Name(), request.AKName)
	}

	if public, err := tpm2.Unmarshal[tpm2.TPMTPublic](quote.AK.Public); err != nil {
		t.Fatalf("the AK has no public area: %v", err)
	} else if name, err := tpm2.ObjectName(public); err != nil || !bytes.Equal(name.Buffer, quote.AK.Name()) {
		t.Fatalf("the Name of the AK's public area is %x (%v), it goes by %x", name, err, quote.AK.Name())
	}
}

func TestAPublicAreaOfAnotherNameIsNotTakenForTheAKs(t *testing.T) {
	t.Parallel()

	public, err := template(ECDSAP256, 0)
	if err != nil {
		t.Fatal(err)
	}

	name, err := tpm2.ObjectName(&public)
	if err != nil {
		t.Fatal(err)
	}

	other := bytes.Clone(name.Buffer)
	other[len(other)-1] ^= 1

	for is, name := range map[string][]byte{"its own": name.Buffer, "another": other, "none": {}} {
		if _, err := describe(KeyRecord{Name: name}, tpm2.New2B(public)); (err == nil) != (is == "its own") {
			t.Errorf("%s: %v", is, err)
		}
	}
}
