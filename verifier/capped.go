package verifier

import (
	"crypto/subtle"
	"fmt"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

// checkCapped refuses a PCR with a cap among its events. SINIT caps the banks that it does not measure into with the hash of 01 (Intel TXT MLE Developer's Guide, appendix E: EVTYPE_CAP_VALUE),
// as tboot does at shutdown; Secure Launch extends 01 and zeros as a digest. What such a PCR holds says nothing of what was launched, so that even a known-good value is worth nothing.
//
// It goes by the digest, which the replay has shown to be the extended one; types are nobody's word. No data has the digest 01 00..00, but 01 may be the honest data of an event
// (EVTYPE_CPU_SCRTM_STAT), so the hash of 01 counts with the types of caps alone. A log that calls an event a cap is believed.
func (x *explained) checkCapped() error {
	h := x.pcr.bank.Hash().New()
	h.Write([]byte{1})
	hashed, raw := h.Sum(nil), make([]byte, x.pcr.bank.Size())
	raw[0] = 1

	for _, ev := range x.events {
		digest, _ := ev.Digest(x.pcr.bank)
		if ev.Type == eventlog.TypeCapValue ||
			ev.Type == eventlog.TypeSlaunch && subtle.ConstantTimeCompare(digest, hashed) == 1 ||
			subtle.ConstantTimeCompare(digest, raw) == 1 {
			return mismatch{
				detail: fmt.Sprintf("%s is capped by event %d (%s) of log %s: it measures nothing", x.pcr, ev.Num, ev.Type, x.log.source),
				got:    digest,
			}
		}
	}
	return nil
}
