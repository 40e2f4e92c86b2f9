package eventlog

import (
	"crypto/sha1" //nolint:gosec // SHA-1 banks exist and are read; policy decides what they are worth.
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
)

// The dynamic PCRs, which TPM2_Startup sets to FF and a measured launch to zeros (TPM2 Part 1, 11.4.9; PC Client Platform TPM Profile 1.05, 4.6.2).
const (
	firstDynamic = 17
	lastDynamic  = 22
)

// Replay is what one bank's PCRs must hold if the log is true.
type Replay struct {
	Alg      Alg
	Launched bool // the log has a HASH_START in PCR 17; if not, PCRs 17 to 22 hold FF
	PCRs     [NumPCRs]PCR
}

// PCR is the replayed state of one PCR.
type PCR struct {
	Value  []byte // nil if Err is not
	Events int    // extended events of this PCR; 0 means that Value is the start value and the log says nothing about this PCR
	Err    error  // set if the log cannot tell what this PCR holds; a *ReplayError in what Log.Replay gives

	// Doubt names the first event whose extend rule is not public, and that the replay therefore assumes to be extended
	// like any other. If Value is not what the TPM holds, this may be why. Empty if there is none.
	Doubt string
}

// ReplayError says why a PCR cannot be replayed.
type ReplayError struct {
	Alg    Alg
	PCR    int
	Event  int // Num of the first event that breaks the replay, -1 if it is the whole log
	Type   EventType
	Reason string
}

// Error names PCR, event and reason.
func (e *ReplayError) Error() string {
	if e.Event < 0 {
		return fmt.Sprintf("replaying %s PCR %d: %s", e.Alg, e.PCR, e.Reason)
	}

	return fmt.Sprintf("replaying %s PCR %d: event %d (%s): %s", e.Alg, e.PCR, e.Event, e.Type, e.Reason)
}

// Value returns the value of one PCR, or why there is none. Check [PCR.Events] too where a PCR without events must not pass.
func (r Replay) Value(pcr int) ([]byte, error) {
	if pcr < 0 || pcr >= NumPCRs {
		return nil, fmt.Errorf("replaying %s PCR %d: PCRs are 0 to %d", r.Alg, pcr, NumPCRs-1)
	}
	p := r.PCRs[pcr]
	if p.Err == nil && p.Value == nil {
		return nil, fmt.Errorf("replaying %s PCR %d: not replayed", r.Alg, pcr)
	}

	return p.Value, p.Err
}

// Replay computes bank a's PCRs 0 to 23:
//
//   - PCRs start at zeros; PCR 0 ends in the locality of TPM2_Startup if the log tells it, and in 4 after an H-CRTM (TPM2 Part 3, 9.3.1).
//   - PCRs 17 to 22 start at FF. HASH_START, which must be their first event, resets them to zeros and is then extended into PCR 17 like
//     any other event (TPM2 Part 1, 34.3).
//   - A second HASH_START would reset them again. A launch begins its log anew, so such a log was put together from
//     two, and PCRs 17 to 22 are not replayable.
//   - An extended event without a digest of bank a makes its PCR not replayable.
//
// What breaks a PCR is in its Err; the others are replayed nevertheless.
func (l *Log) Replay(a Alg) Replay {
	r := Replay{Alg: a}
	switch {
	case a.Hash() == 0:
		r.failAll(fmt.Sprintf("%s cannot be computed here", a))
	case l.file == nil || l.file.index(a) < 0:
		r.failAll(fmt.Sprintf("the log has no %s bank", a))
	default:
		r.start(l.startLocality())
		for i := range l.Events {
			r.event(&l.Events[i])
		}
	}

	return r
}

// start sets the values after TPM2_Startup.
func (r *Replay) start(locality byte, err string, event *Event) {
	size := r.Alg.Size()
	values := make([]byte, NumPCRs*size)
	for i := range r.PCRs {
		r.PCRs[i].Value = values[i*size:][:size:size]
	}
	for _, p := range r.PCRs[firstDynamic : lastDynamic+1] {
		fillBytes(p.Value, 0xFF)
	}
	r.PCRs[0].Value[size-1] = locality
	if err != "" {
		r.fail(0, event, err)
	}
}

// event applies one event.
func (r *Replay) event(e *Event) {
	if !e.Extended() || e.PCR >= NumPCRs {
		return
	}
	n := int(e.PCR)
	if e.Type == TypeHashStart {
		r.hashStart(e)
	} else if n >= firstDynamic && n <= lastDynamic && !r.Launched {
		r.fail(n, e, "it comes before a HASH_START: not the log of an Intel TXT launch")
	}

	p := &r.PCRs[n]
	p.Events++
	if e.Type >= TypeColdBootBIOSHash && e.Type <= TypeBootPolHash && p.Doubt == "" {
		p.Doubt = fmt.Sprintf("event %d (%s) belongs to Intel CBnT, and how that is extended is not public", e.Num, e.Type)
	}
	if p.Err != nil {
		return
	}
	digest, ok := e.Digest(r.Alg)
	if !ok {
		r.fail(n, e, fmt.Sprintf("it was extended but has no %s digest", r.Alg))

		return
	}
	extend(r.Alg, p.Value, digest)
}

// hashStart applies what the beginning of a measured launch does to the dynamic PCRs. The digest itself is extended later.
func (r *Replay) hashStart(e *Event) {
	if e.PCR != firstDynamic {
		r.fail(int(e.PCR), e, "a launch is measured into PCR 17 only")

		return
	}
	for n := firstDynamic; n <= lastDynamic; n++ {
		if r.Launched {
			r.fail(n, e, "a second HASH_START: a launch has one")
		} else if r.PCRs[n].Err == nil {
			fillBytes(r.PCRs[n].Value, 0)
		}
	}
	r.Launched = true
}

// fail records the first thing that breaks a PCR.
func (r *Replay) fail(pcr int, e *Event, reason string) {
	p := &r.PCRs[pcr]
	if p.Err == nil {
		p.Value, p.Err = nil, &ReplayError{Alg: r.Alg, PCR: pcr, Event: e.Num, Type: e.Type, Reason: reason}
	}
}

// failAll breaks every PCR for a reason that no event has.
func (r *Replay) failAll(reason string) {
	for i := range r.PCRs {
		r.PCRs[i].Err = &ReplayError{Alg: r.Alg, PCR: i, Event: -1, Reason: reason}
	}
}

// extend sets value to H(value || digest) without allocating (TPM2 Part 1, 17.2.2). Both have the length of a's digests.
// Sizes are constants in each case because that saves a fifth of a replay's time.
func extend(a Alg, value, digest []byte) {
	switch a {
	case AlgSHA1:
		var b [2 * sha1.Size]byte
		*(*[sha1.Size]byte)(b[:]) = [sha1.Size]byte(value)
		*(*[sha1.Size]byte)(b[sha1.Size:]) = [sha1.Size]byte(digest)
		*(*[sha1.Size]byte)(value) = sha1.Sum(b[:]) //nolint:gosec // see the import
	case AlgSHA256:
		var b [2 * sha256.Size]byte
		*(*[sha256.Size]byte)(b[:]) = [sha256.Size]byte(value)
		*(*[sha256.Size]byte)(b[sha256.Size:]) = [sha256.Size]byte(digest)
		*(*[sha256.Size]byte)(value) = sha256.Sum256(b[:])
	case AlgSHA384:
		var b [2 * sha512.Size384]byte
		*(*[sha512.Size384]byte)(b[:]) = [sha512.Size384]byte(value)
		*(*[sha512.Size384]byte)(b[sha512.Size384:]) = [sha512.Size384]byte(digest)
		*(*[sha512.Size384]byte)(value) = sha512.Sum384(b[:])
	case AlgSHA512:
		var b [2 * sha512.Size]byte
		*(*[sha512.Size]byte)(b[:]) = [sha512.Size]byte(value)
		*(*[sha512.Size]byte)(b[sha512.Size:]) = [sha512.Size]byte(digest)
		*(*[sha512.Size]byte)(value) = sha512.Sum512(b[:])
	}
}

func fillBytes(b []byte, c byte) {
	for i := range b {
		b[i] = c
	}
}
