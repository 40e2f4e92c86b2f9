package tpm

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
)

// spy watches over a TPM: no command may be authorised with lockoutAuth, or with the value of anything that is under dictionary-attack protection.
type spy struct {
	transport.TPM
	t testing.TB

	mu   sync.Mutex
	sent []byte
	// answer, if set, may answer in place of the TPM.
	answer func(tpm2.TPMCC) []byte
}

// authorized tells how many handles a command has, and how many of them are authorised (TPM 2.0 Part 3).
var authorized = map[tpm2.TPMCC][2]int{
	tpm2.TPMCCCreatePrimary:      {1, 1},
	tpm2.TPMCCActivateCredential: {2, 2},
	tpm2.TPMCCPolicySecret:       {2, 1},
	tpm2.TPMCCNVRead:             {2, 1},
	tpm2.TPMCCQuote:              {1, 1},
	tpm2.TPMCCCertifyCreation:    {2, 1},
	tpm2.TPMCCEvictControl:       {2, 1},
}

func (s *spy) Send(command []byte) ([]byte, error) {
	code := tpm2.TPMCC(binary.BigEndian.Uint32(command[6:]))

	s.mu.Lock()
	s.sent = append(s.sent, command...)
	s.mu.Unlock()

	switch {
	case code == tpm2.TPMCCPolicyAuthValue || code == tpm2.TPMCCPolicyPassword:
		s.t.Errorf("command 0x%x makes a policy depend on the object's own value", uint32(code))
	case binary.BigEndian.Uint16(command) == uint16(tpm2.TPMSTSessions):
		s.check(code, command[10:])
	}

	if s.answer != nil {
		if response := s.answer(code); response != nil {
			return response, nil
		}
	}

	return s.TPM.Send(command)
}

// check looks at the authorisation area: handles, u32 size, and for each authorisation a session handle, nonce, attributes and HMAC (TPM 2.0 Part 1, 18.6).
func (s *spy) check(code tpm2.TPMCC, body []byte) {
	counts, known := authorized[code]
	if !known {
		s.t.Errorf("command 0x%x is authorised; the spy does not know it", uint32(code))

		return
	}

	area := body[4*counts[0]+4:]

	for i := range counts[1] {
		handle, session := binary.BigEndian.Uint32(body[4*i:]), binary.BigEndian.Uint32(area)
		nonce := int(binary.BigEndian.Uint16(area[4:]))
		area = area[4+2+nonce+1:]
		area = area[2+int(binary.BigEndian.Uint16(area)):]

		const policySession = 0x03
		if session>>24 != policySession && !s.harmless(tpm2.TPMHandle(handle)) {
			s.t.Errorf("command 0x%x is authorised with the value of 0x%08x", uint32(code), handle)
		}
	}
}

// harmless says whether a wrong value would count nowhere.
func (s *spy) harmless(handle tpm2.TPMHandle) bool {
	switch handle >> 24 {
	case 0x40:
		return handle != tpm2.TPMRHLockout
	case 0x01:
		response, err := tpm2.NVReadPublic{NVIndex: handle}.Execute(s.TPM)
		if err != nil {
			return true // there is nothing to attack
		}

		public, err := response.NVPublic.Contents()

		return err == nil && public.Attributes.NoDA
	default:
		response, err := tpm2.ReadPublic{ObjectHandle: handle}.Execute(s.TPM)
		if err != nil {
			return true
		}

		public, err := response.OutPublic.Contents()

		return err == nil && public.ObjectAttributes.NoDA
	}
}

// saw says whether a value went over the bus in clear.
func (s *spy) saw(value []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()

	return bytes.Contains(s.sent, value)
}

// watched starts a node, watches what is done to it, and at the end of the test compares what is loaded, what is persistent and the dictionary-attack counter.
func watched(t *testing.T, prepare func(*tpmsim.Node)) *spy {
	t.Helper()

	node := tpmsimtest.Start(t, tpmsim.Options{})
	if prepare != nil {
		prepare(node)
	}

	before := residue(t, node)

	t.Cleanup(func() {
		if after := residue(t, node); !slices.Equal(before, after) {
			t.Errorf("the TPM holds %x, before %x (handles, then the lockout counter)", after, before)
		}
	})

	return &spy{TPM: node, t: t}
}

// residue lists transient objects, loaded and saved sessions, persistent objects, and TPM_PT_LOCKOUT_COUNTER.
func residue(t *testing.T, tpm transport.TPM) []uint32 {
	t.Helper()

	var all []uint32

	for _, first := range []tpm2.TPMHandle{0x80000000, 0x02000000, 0x03000000, 0x81000000} {
		handles, err := handlesBetween(tpm, first, first|0xffffff)
		must(t, err)

		for _, handle := range handles {
			all = append(all, uint32(handle))
		}
	}

	response, err := tpm2.GetCapability{Capability: tpm2.TPMCapTPMProperties, Property: uint32(tpm2.TPMPTLockoutCounter), PropertyCount: 1}.Execute(tpm)
	must(t, err)

	properties, err := response.CapabilityData.Data.TPMProperties()
	must(t, err)

	return append(all, properties.TPMProperty[0].Value)
}

func must(t testing.TB, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}

// raw sends a command that go-tpm does not have: of one handle, authorised with an empty password, and parameters.
func raw(t testing.TB, tpm transport.TPM, code, handle uint32, parameters ...byte) {
	t.Helper()

	command := []byte{0x80, 0x02, 0, 0, 0, byte(27 + len(parameters))}
	command = binary.BigEndian.AppendUint32(command, code)
	command = binary.BigEndian.AppendUint32(command, handle)
	command = append(command, 0, 0, 0, 9, 0x40, 0, 0, 0x09, 0, 0, 0, 0, 0)

	response, err := tpm.Send(append(command, parameters...))
	if err != nil || binary.BigEndian.Uint32(response[6:]) != 0 {
		t.Fatalf("command 0x%x: %x, %v", code, response, err)
	}
}

// setAuth sets the authorisation value of a hierarchy (TPM 2.0 Part 3, 24.8).
func setAuth(t testing.TB, tpm transport.TPM, hierarchy tpm2.TPMHandle, value []byte) {
	t.Helper()

	_, err := tpm2.HierarchyChangeAuth{
		AuthHandle: tpm2.AuthHandle{Handle: hierarchy, Auth: tpm2.PasswordAuth(nil)},
		NewAuth:    tpm2.TPM2BAuth{Buffer: value},
	}.Execute(tpm)
	must(t, err)
}

// evictEK removes the key from a persistent handle.
func evictEK(t testing.TB, tpm transport.TPM, handle tpm2.TPMHandle) {
	t.Helper()

	object, err := tpm2.ReadPublic{ObjectHandle: handle}.Execute(tpm)
	must(t, err)

	_, err = tpm2.EvictControl{
		Auth:             tpm2.TPMRHOwner,
		ObjectHandle:     tpm2.NamedHandle{Handle: handle, Name: object.Name},
		PersistentHandle: handle,
	}.Execute(tpm)
	must(t, err)
}

// persistKey makes a primary key of the endorsement hierarchy persistent.
func persistKey(t testing.TB, tpm transport.TPM, public tpm2.TPMTPublic, handle tpm2.TPMHandle) tpm2.TPM2BName {
	t.Helper()

	primary, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHEndorsement, InPublic: tpm2.New2B(public)}.Execute(tpm)
	must(t, err)

	_, err = tpm2.EvictControl{
		Auth:             tpm2.TPMRHOwner,
		ObjectHandle:     tpm2.NamedHandle{Handle: primary.ObjectHandle, Name: primary.Name},
		PersistentHandle: handle,
	}.Execute(tpm)
	must(t, err)

	_, err = tpm2.FlushContext{FlushHandle: primary.ObjectHandle}.Execute(tpm)
	must(t, err)

	return primary.Name
}
